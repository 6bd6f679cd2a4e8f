"""The written state of a run, made again from its records as an object of the state's class of today.

Values come back as JSON tells them: a field of a state class makes its own type of them, other values stay plain. What
is not whole in the records is named, unless something was written over it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from otflow.context.state_store import DELETED, apply_write, make_state
from otflow.core.snapshot import read_leftovers, read_saved
from otflow.errors import ContextSerdeError
from otflow.records.body import Body
from otflow.records.losses import find_losses
from otflow.records.record import ContextWritten, Record, RunResumed, RunStarted
from otflow.replay.rebuild import MisfitError

__all__ = ["StateFold", "fold_state"]


class StateFold:
    """The state as far as records have been folded.

    Args:
        kind: the class of the state.

    Attributes:
        state: the state.
        lost: by path why the value there is not known.
    """

    def __init__(self, kind: type[BaseModel]) -> None:
        self.state: BaseModel = make_state(kind)
        self.lost: dict[str, str] = {}

    def take(self, record: Record) -> None:
        """Take one record.

        Raises:
            ContextSerdeError: what it says cannot be read, or does not fit the class of the state.
        """
        match record:
            case RunStarted(carried=Body() as carried):
                self._bring(msgspec.structs.replace(record, carried=_state_of(record, carried)))
            case RunResumed(snapshot=Body() as snapshot):
                if not _is_cut(record) and (state := read_saved(snapshot).state) is not None:
                    self._bring(msgspec.structs.replace(record, snapshot=state))
            case ContextWritten():
                self.write(record.path, DELETED if record.deleted else record.value, record)
            case _:
                pass

    def write(self, path: str, value: object, record: Record | None = None) -> None:
        """Put a value at a path.

        Args:
            path: the path; empty for the whole state.
            value: the value; a body for one that was recorded, or `DELETED`.
            record: the record that says so; default None: it is given by a user.

        Raises:
            ContextSerdeError: it does not fit the class of the state.
        """
        reason = (
            next((text for _, text in find_losses(record)), "") if record is not None and value is not DELETED else ""
        )
        self.lost = {
            old: why for old, why in self.lost.items() if path and old != path and not old.startswith(f"{path}.")
        }
        if reason:
            self.lost[path] = reason
            return
        try:
            self.state = apply_write(self.state, path, _decode(value))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            if value is DELETED or any(not old or path.startswith(f"{old}.") for old in self.lost):
                return  # there is nothing to delete, or it was written into something that is not known
            where = f"at '{path}'" if path else "of the whole state"
            source = f"Record {record.seq} of run {record.run}" if record is not None else "The changed state"
            raise ContextSerdeError(
                f"{source} has a value {where} that does not fit the state {type(self.state).__name__}: "
                f"{_first_line(error)}. Go on with the version of the workflow that wrote it, or give another state."
            ) from error

    def require(self, last: Record, place: str, advice: str) -> BaseModel:
        """Return the state, which has to be whole.

        Args:
            last: the record behind which a run is to go on with it.
            place: words that say where, or which records; may be empty.
            advice: a sentence that says what to do.

        Raises:
            MisfitError: a part of it is not known.
        """
        if self.lost:
            paths = ", ".join(f"'{path}'" if path else "all of it" for path in self.lost)
            why = " ".join(self.lost.values())
            raise MisfitError(
                f"Run {last.run} cannot go on{place}, because its state is not whole ({paths}): {why} {advice}",
                last.run,
                last.seq,
            )
        return self.state

    def _bring(self, record: RunStarted | RunResumed) -> None:
        body = record.carried if isinstance(record, RunStarted) else record.snapshot
        self.state = make_state(type(self.state))
        self.lost = {}
        if body is not None:
            self.write("", body, record)


def fold_state(records: Iterable[Record], kind: type[BaseModel]) -> StateFold:
    """Fold the records of a run into its written state.

    Args:
        records: its records, in order.
        kind: the class of the state.

    Raises:
        ContextSerdeError: a record cannot be read, or does not fit the class of the state.
    """
    fold = StateFold(kind)
    for record in records:
        fold.take(record)
    return fold


def _is_cut(record: Record) -> bool:
    return any("was left out" in text for _, text in find_losses(record))


def _state_of(record: RunStarted, carried: Body) -> Body | None:
    return carried if _is_cut(record) else read_leftovers(carried).state


def _decode(value: object) -> object:
    if not isinstance(value, Body):
        return value
    found: Any = msgspec.json.decode(value.json)
    return found if not isinstance(found, Mapping) else dict(found)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3])
    return str(error).partition("\n")[0]
