"""The policy: what a user says about what must not leave the process, as one frozen record."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from otflow.errors import WorkflowConfigurationError
from otflow.redaction.walk import Callback
from otflow.redaction.words import DEFAULT_KEYS, split

__all__ = ["Redaction"]


class Redaction(msgspec.Struct, frozen=True):
    """What is hidden from telemetry, journals and everything else that records go to.

    Whatever the keys are, two things are always hidden: what pydantic's `SecretStr`, `SecretBytes` and `Secret` hold,
    and fields marked by `Field(json_schema_extra={"otflow": "secret"})`.

    Args:
        keys: names that hide the value under them, in words: "api key" stands for `api_key`, `apiKey`, `X-API-Key`,
            `OPENAI_API_KEY` and `api_keys`. Default: `DEFAULT_KEYS`.
        extra_keys: further names; default none.
        allow: keys that are shown although they have such words, or whole paths with dots ("usage.auth"); compared
            without regard to case. Default none.
        callback: called with the path ("order.card", items of lists by number) and the plain data of each value that
            is not hidden anyway; what it returns is told in its place. A value for which it raises is hidden.
            Default None.
        hide_inputs: whether all events are hidden but stop events; default False.
        hide_outputs: whether all events are hidden but those that come from outside; default False.

    Raises:
        WorkflowConfigurationError: an argument is of another kind; the message names all that are wrong.

    Example:
        >>> from otflow.redaction import Redaction
        >>> Redaction(extra_keys=("tax id",), allow=("auth_method",)).extra_keys
        ('tax id',)
    """

    keys: Collection[str] = DEFAULT_KEYS
    extra_keys: Collection[str] = ()
    allow: Collection[str] = ()
    callback: Callback | None = None
    hide_inputs: bool = False
    hide_outputs: bool = False

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("keys", "extra_keys", "allow"):
            names = _read_names(name, getattr(self, name), faults)
            msgspec.structs.force_setattr(self, name, names)
        if self.callback is not None and not callable(self.callback):
            faults.append(f"callback={self.callback!r:.100} cannot be called: give a function of path and value")
        faults += [
            f"{name}={getattr(self, name)!r:.100} is neither True nor False"
            for name in ("hide_inputs", "hide_outputs")
            if not isinstance(getattr(self, name), bool)
        ]
        if faults:
            raise WorkflowConfigurationError(f"Redaction(): {'; '.join(faults)}.")


def _read_names(argument: str, names: object, faults: list[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Collection):
        faults.append(f"{argument}={names!r:.100} is no collection of names: write {argument}=({names!r:.100},)")
        return ()
    found = tuple(names)
    wrong = [name for name in found if not isinstance(name, str) or not split(name)]
    if wrong:
        listed = ", ".join(f"{name!r:.100}" for name in wrong)
        faults.append(f"{argument} has {listed}, where each name has to be a text with a letter or digit")
    return found
