"""How much of payloads is shown, and what is hidden: from choices and variables to budgets and redactors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from otflow.dispatcher import Dispatcher
from otflow.errors import OtflowError
from otflow.payload_store import PayloadStore
from otflow.records.capture import Capture, make_capture
from otflow.redaction import DEFAULT, Redaction, Redactor
from otflow.telemetry.choices import Choices
from otflow.telemetry.environment import Environment

__all__ = ["choose_capture", "hide_secrets"]

_log = logging.getLogger("otflow.telemetry")


def choose_capture(choices: Choices, wanted: Environment) -> Capture:
    """Return the budgets of spans."""
    levels = choices.capture or wanted.capture
    return make_capture(levels, _open_store(choices, wanted))


def _open_store(choices: Choices, wanted: Environment) -> PayloadStore | None:
    chosen = choices.payload_store
    if isinstance(chosen, PayloadStore):
        return chosen
    if chosen is not None:
        return PayloadStore(Path(chosen).expanduser())
    if not wanted.payload_store:
        return None
    try:
        return PayloadStore(Path(wanted.payload_store).expanduser())
    except (OtflowError, OSError) as error:
        _log.warning("OTFLOW_PAYLOAD_STORE=%s is left out: %s", os.fspath(wanted.payload_store), error)
        return None


def hide_secrets(dispatcher: Dispatcher, choices: Choices, wanted: Environment) -> Callable[[], None]:
    """Have a dispatcher hide what shall not be told; returns the function that takes this back.

    What the user gave to the dispatcher itself stays, unless `configure` names something else.
    """
    before = dispatcher.redact
    if choices.redact is None and before is not DEFAULT:
        if before is None or not (wanted.hide_inputs or wanted.hide_outputs):
            return lambda: None
        policy = msgspec.structs.replace(
            before.policy,
            hide_inputs=before.policy.hide_inputs or wanted.hide_inputs,
            hide_outputs=before.policy.hide_outputs or wanted.hide_outputs,
        )
        dispatcher.redact = Redactor(policy)
    else:
        dispatcher.redact = _choose_redactor(choices, wanted)

    def undo() -> None:
        dispatcher.redact = before

    return undo


def _choose_redactor(choices: Choices, wanted: Environment) -> Redactor | None:
    chosen = choices.redact
    hides = wanted.hide_inputs or wanted.hide_outputs
    if isinstance(chosen, Redaction):
        return Redactor(chosen)
    if chosen is False or (chosen is None and not wanted.redact):
        return (
            Redactor(Redaction(keys=(), hide_inputs=wanted.hide_inputs, hide_outputs=wanted.hide_outputs))
            if hides
            else None
        )
    if not hides:
        return DEFAULT
    return Redactor(Redaction(hide_inputs=wanted.hide_inputs, hide_outputs=wanted.hide_outputs))
