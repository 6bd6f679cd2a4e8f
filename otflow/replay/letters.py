"""Letters: events that were kept for a run while nobody ran it. They are read before it goes on, and sent when it does.

One that cannot be read, or that its step does not take, is put aside with the reason: a run is never kept from going on
by an answer that somebody left for it, and no answer is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import ValidationError

from otflow.dispatcher import Dispatcher
from otflow.errors import ContextStateError, WorkflowRuntimeError, text_of
from otflow.events import Event
from otflow.handler import WorkflowHandler
from otflow.journal.inbox import Letter
from otflow.journal.journal import Journal
from otflow.records.body import Body
from otflow.runtime.blueprint import Blueprint

__all__ = ["ReadLetter", "deliver", "read_letters"]

_log = logging.getLogger(__name__)


class ReadLetter(NamedTuple):
    """A letter that was read: its event, the only step that is to get it, and its number."""

    event: Event
    step: str | None
    number: int


def read_letters(book: Journal, run: str, blueprint: Blueprint, dispatcher: Dispatcher) -> list[ReadLetter]:
    """Read what is kept for a run that this process owns; put aside what the run cannot take, and say so once.

    Args:
        book: the journal.
        run: the whole id of the run.
        blueprint: its workflow.
        dispatcher: says what of texts may be told.

    Raises:
        JournalError: the journal cannot be used.
    """
    found = []
    for letter in book.inbox.read(run):
        try:
            found.append(_read(letter, blueprint))
        except Exception as error:  # validators of users may raise anything
            reason = dispatcher.scrub(_explain(error))
            book.inbox.put_aside(letter.number, reason)
            _log.warning(
                "Run %s cannot take the event %s that was kept for it: %s The run goes on without it. It was put aside "
                "as letter %d: otflow.journal.list_letters shows it, remove_letter deletes it.",
                run,
                letter.type,
                reason,
                letter.number,
            )
    return found


def deliver(book: Journal, handler: WorkflowHandler, letters: Sequence[ReadLetter]) -> None:
    """Send a run that goes on what was kept for it."""
    for letter in letters:
        book.inbox.expect(letter.event, letter.number)
        try:
            handler.ctx.send_event(letter.event, letter.step)
        except ContextStateError:  # it ended as soon as it began, as its handler says: they stay where they are
            return


def _read(letter: Letter, blueprint: Blueprint) -> ReadLetter:
    event = blueprint.revive(letter.type, Body(json=letter.data.encode()))
    if letter.step:
        if letter.step not in blueprint.plan.steps:
            raise WorkflowRuntimeError(f"there is no step '{letter.step}'.")
        if letter.step not in blueprint.plan.routes[blueprint.key(type(event))].steps:
            raise WorkflowRuntimeError(f"step '{letter.step}' does not accept it.")
    return ReadLetter(event, letter.step or None, letter.number)


def _explain(error: Exception) -> str:
    """Say why, without the payload itself."""
    if not isinstance(error, ValidationError):
        return text_of(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}" for each in faults) + "."
