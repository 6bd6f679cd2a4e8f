"""The nursery: the runs that steps of a run had begun when their process ended, for when these steps run again.

An attempt that runs again begins the same runs again. Those that the journal has are found here by what they began
with, and what became of them counts: one that has ended is not run again, and one that has not goes on. It knows where
to look and what fits; how a run goes on, it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import NamedTuple, TypeAlias

import msgspec

from otflow.context.context import Context
from otflow.context.current import CURRENT
from otflow.dispatcher import Dispatcher
from otflow.events import StartEvent
from otflow.handler import WorkflowHandler
from otflow.journal.children import Child, find_children, read_beginning
from otflow.journal.journal import Journal
from otflow.launch import Launch, find_attempted, inherit
from otflow.records.body import OPAQUE, REDACTED, Body
from otflow.records.kinship import Attempted, mark_children, name_child
from otflow.replay.workflows import Runnable
from otflow.runtime.attempt import Attempt

__all__ = ["BringBack", "Nursery", "find_nursery"]

BringBack: TypeAlias = Callable[[Journal, Runnable, Launch, str], WorkflowHandler]
"""Brings a run of a journal back, which was to begin as said: it goes on, or shows how it has ended."""


class _Wanted(NamedTuple):
    """What a run is to begin with."""

    workflow: str
    type: str
    event: Body
    carried: Body | None


class Nursery:
    """Finds the runs again that the steps of a run had begun.

    Args:
        run: the run above.
        dispatcher: where its records go.
        book: the journal that has it.
        bring_back: how a run is brought back.
    """

    def __init__(self, run: str, dispatcher: Dispatcher, book: Journal, bring_back: BringBack) -> None:
        self.run = run
        self._dispatcher = dispatcher
        self._book = book
        self._bring_back = bring_back
        self._children: dict[Dispatcher, list[tuple[Journal, Child]]] = {}
        self._taken: set[str] = set()
        self._lock = Lock()  # a step may begin runs in several threads

    def admit(self, workflow: Runnable, launch: Launch, start: StartEvent) -> WorkflowHandler | Launch:
        """Bring a run back that was begun before; or say how it is to begin, which is under a name of its own.

        Args:
            workflow: its workflow.
            launch: how it is to begin.
            start: the event to begin with.

        Raises:
            RunOwnedError: somebody else runs it.
            MisfitError: its workflow no longer fits it, or something that is needed of it is not whole.
            JournalError: the journal cannot be read.
        """
        attempt = CURRENT.get()
        if not isinstance(attempt, Attempt):
            raise AssertionError("who asks has seen that a step calls")
        blueprint = launch.blueprint
        wanted = _Wanted(
            blueprint.graph.name,
            blueprint.key(type(start)),
            Body(start, None, launch.dispatcher.redact),
            inherit(launch).carried,
        )
        with self._lock:
            attempted = find_attempted(attempt)
            name = launch.run_id or name_child(attempted, attempt.number_child())
            family = self._find_children(launch.dispatcher)
            fitting = self._find_fitting(family, attempted, wanted, name, given=launch.run_id is not None)
            found = next(fitting, None)
            if found is None:
                known = {child.id for _, child in family}
                while launch.run_id is None and name in known:
                    name = name_child(attempted, attempt.number_child())
                return launch._replace(run_id=name)
            book, id = found[0], found[1].id
            self._taken.add(id)
        try:
            return self._bring_back(book, workflow, launch, id)
        except BaseException:  # whatever it was, the step may try again
            self._taken.discard(id)
            raise

    def _find_children(self, dispatcher: Dispatcher) -> list[tuple[Journal, Child]]:
        """List what the journals had when the first run was to begin; who begins later is none of those."""
        if dispatcher not in self._children:
            books = [self._book]
            if dispatcher is not self._dispatcher:
                books = [sink for sink in dispatcher.journals if isinstance(sink, Journal)]
            found: list[tuple[Journal, Child]] = []
            for book in books:
                with book.look() as connection:
                    found += [(book, child) for child in find_children(connection, self.run)]
            self._children[dispatcher] = found
        return self._children[dispatcher]

    def _find_fitting(
        self,
        family: Sequence[tuple[Journal, Child]],
        attempted: Attempted,
        wanted: _Wanted,
        name: str,
        *,
        given: bool,
    ) -> Iterator[tuple[Journal, Child]]:
        """Find those that this attempt began with the same; that of the same name first.

        Which one it is says the name if it was given by the user, whatever it began with.
        """
        mark = mark_children(attempted)
        for book, child in sorted(family, key=lambda each: each[1].id != name):
            if child.id in self._taken or child.workflow != wanted.workflow:
                continue
            if not (child.id == name if given else child.id.endswith(mark)):
                continue
            with book.look() as connection:
                begun = read_beginning(connection, child.id)
            if begun is None or begun.started.parent_invocation != attempted.invocation:
                continue
            pairs = ((begun.received.body, wanted.event), (begun.started.carried, wanted.carried))
            if given or (
                begun.received.type == wanted.type
                and all(_agree(old, new, exact=child.id != name, told=book.redacted) for old, new in pairs)
            ):
                yield book, child


def find_nursery(launch: Launch) -> Nursery | None:
    """Return where to look for a run that is to begin; None if it was not begun before, as nearly always."""
    attempt = CURRENT.get()
    if attempt is None or not attempt.run.active:
        return None
    above, own = attempt.run.context, launch.context
    if not isinstance(above, Context) or not isinstance(above.nursery, Nursery):
        return None
    if above.nursery.run != attempt.run.run_id or not isinstance(attempt, Attempt) or not isinstance(own, Context):
        return None
    if (own.run is not None and own.run.active) or (own.saved is not None and own.saved.run is not None):
        return None
    return above.nursery


def _agree(old: Body | None, new: Body | None, *, exact: bool, told: bool) -> bool:
    """Tell whether a recorded payload says the same as a live one.

    Args:
        old: the recorded one.
        new: the live one.
        exact: whether nothing may be missing in what is compared.
        told: whether the recorded one says only what may be told.
    """
    if old is None or new is None:
        return old is new
    text = new.json if told else new.whole
    if exact and any(mark in each for mark in _MARKS for each in (text, old.whole)):
        return False
    return bool(_plain(msgspec.json.decode(old.whole)) == _plain(msgspec.json.decode(text)))


_MARKS = (f'"{OPAQUE}"'.encode(), f'"{REDACTED}"'.encode())


def _plain(value: object) -> object:
    """Leave out of what JSON cannot hold how it looked, which has addresses in it."""
    if isinstance(value, dict):
        return value[OPAQUE] if OPAQUE in value else {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
