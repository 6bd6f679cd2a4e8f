"""The nursery: the runs that steps of a run had begun when their process ended, for when these steps run again.

An attempt that runs again begins the same runs again. Those that the journal has are found here by what they began
with, and what became of them counts: one that has ended is not run again, and one that has not goes on. It knows where
to look and what fits; how a run goes on, it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple, TypeAlias

import msgspec

from otflow.context.context import Context
from otflow.context.current import CURRENT
from otflow.dispatcher import Dispatcher
from otflow.events import StartEvent
from otflow.handler import WorkflowHandler
from otflow.journal.children import Beginning, Child, find_children, read_beginning
from otflow.journal.journal import Journal
from otflow.launch import Launch, find_attempted, inherit, is_copy
from otflow.records.body import OPAQUE, REDACTED, Body
from otflow.records.kinship import Attempted, mark_children, name_child
from otflow.replay.following import Following
from otflow.replay.workflows import Runnable
from otflow.runtime.attempt import Attempt
from otflow.runtime.local import LocalRun

__all__ = ["BringBack", "Nursery", "find_nursery"]

BringBack: TypeAlias = Callable[[Journal, Runnable, Launch, str], WorkflowHandler]
"""Brings a run of a journal back, which was to begin as said: it goes on, or shows how it has ended."""


class _Wanted(NamedTuple):
    """What a run is to begin with."""

    workflow: str
    type: str
    event: Body
    carried: Body | None


class _Kept(NamedTuple):
    """A run that was begun, and with what."""

    book: Journal
    id: str
    workflow: str
    begun: Beginning


_Key: TypeAlias = tuple[bool, str, str, bytes, bytes]
"""Whether secrets are left out; the workflow; the type of the start event; the texts of what the run began with."""


class _Family:
    """What journals had of the runs below another one when the first was to begin; who begins later is none of those.

    Args:
        books: the journals.
        parent: the run above.
    """

    def __init__(self, books: Sequence[Journal], parent: str) -> None:
        self.known: dict[str, tuple[Journal, Child]] = {}
        self.told = {book.redacted for book in books}
        self._marked: dict[str, list[str]] = {}
        self._read: dict[Attempted, tuple[dict[str, _Kept], dict[_Key, dict[str, _Kept]]]] = {}
        for book in books:
            with book.look() as connection:
                children = find_children(connection, parent)
            for child in children:
                self.known[child.id] = (book, child)
                self._marked.setdefault(child.id[-_MARKED:], []).append(child.id)

    def read(self, id: str, invocation: int) -> _Kept | None:
        """Read what a run began with; None if this invocation did not begin it."""
        book, child = self.known[id]
        with book.look() as connection:
            begun = read_beginning(connection, id)
        if begun is None or begun.started.parent_invocation != invocation:
            return None
        return _Kept(book, id, child.workflow, begun)

    def sort(self, attempted: Attempted) -> tuple[dict[str, _Kept], dict[_Key, dict[str, _Kept]]]:
        """Return what an attempt began: by name, and by what it began with. It is read once."""
        if attempted not in self._read:
            found = [self.read(id, attempted.invocation) for id in self._marked.get(mark_children(attempted), ())]
            named = {kept.id: kept for kept in found if kept is not None}
            alike: dict[_Key, dict[str, _Kept]] = {}
            for kept in named.values():
                if (key := _key_of(kept)) is not None:
                    alike.setdefault(key, {})[kept.id] = kept
            self._read[attempted] = (named, alike)
        return self._read[attempted]


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
        self._families: dict[Dispatcher, _Family] = {}
        self._taken: set[str] = set()
        self._lock = Lock()  # a step may begin runs in several threads

    def admit(self, workflow: Runnable, launch: Launch, start: StartEvent) -> WorkflowHandler | Launch:
        """Bring a run back that was begun before; or say how it is to begin, which is under a name of its own.

        Args:
            workflow: its workflow.
            launch: how it is to begin.
            start: the event to begin with.

        Raises:
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
            family, attempted = self._find_family(launch.dispatcher), find_attempted(attempt)
            name, found = launch.run_id, None
            if name is not None:
                found = self._find_named(family, attempt.started.invocation, wanted, name)
            elif attempted is not None:
                name = name_child(attempted, attempt.number_child())
                found = self._find_alike(family, attempted, wanted, name)
                while found is None and name in family.known:
                    name = name_child(attempted, attempt.number_child())
            if found is None:
                return launch._replace(run_id=name)
            give_back = self._take(family, attempted, found)
        try:
            handler = self._bring_back(found.book, workflow, launch, found.id)
        except BaseException:  # whatever it was, the step may try again
            give_back()
            raise
        if isinstance(handler, Following):
            handler.add_done_callback(lambda _: handler.found or give_back())
        return handler

    def _find_family(self, dispatcher: Dispatcher) -> _Family:
        """Return what the journals of a dispatcher have."""
        if dispatcher not in self._families:
            books = [self._book]
            if dispatcher is not self._dispatcher:
                books = [sink for sink in dispatcher.journals if isinstance(sink, Journal)]
            self._families[dispatcher] = _Family(books, self.run)
        return self._families[dispatcher]

    def _find_named(self, family: _Family, invocation: int, wanted: _Wanted, name: str) -> _Kept | None:
        """Find the run whose name was given by the user, which says which one it is, whatever it began with."""
        if name not in family.known or name in self._taken or family.known[name][1].workflow != wanted.workflow:
            return None
        return family.read(name, invocation)

    def _find_alike(self, family: _Family, attempted: Attempted, wanted: _Wanted, name: str) -> _Kept | None:
        """Find a run that this attempt began with the same; that of the same name first."""
        named, alike = family.sort(attempted)
        kept = named.get(name)
        if kept is not None and name not in self._taken and _agree(kept, wanted):
            return kept
        for told in family.told:
            key = _make_key(wanted.workflow, wanted.type, (wanted.event, wanted.carried), told=told)
            if key is not None and (found := alike.get(key)):
                return next(iter(found.values()))
        return None

    def _take(self, family: _Family, attempted: Attempted | None, kept: _Kept) -> Callable[[], None]:
        """Let nobody else find a run; return what undoes this."""
        self._taken.add(kept.id)
        key = _key_of(kept) if attempted is not None else None
        found = family.sort(attempted)[1].get(key, {}) if attempted is not None and key is not None else {}
        there = found.pop(kept.id, None)

        def give_back() -> None:
            with self._lock:
                self._taken.discard(kept.id)
                if there is not None:
                    found[kept.id] = there

        return give_back


def find_nursery(launch: Launch) -> Nursery | None:
    """Return where to look for a run that is to begin; None if it was not begun before, as nearly always."""
    attempt = CURRENT.get()
    if attempt is None or not attempt.run.active:
        return None
    if isinstance(attempt.run, LocalRun) and is_copy(attempt.run):  # as for any process that a step starts
        return None
    above, own = attempt.run.context, launch.context
    if not isinstance(above, Context) or not isinstance(above.nursery, Nursery):
        return None
    if above.nursery.run != attempt.run.run_id or not isinstance(attempt, Attempt) or not isinstance(own, Context):
        return None
    if (own.run is not None and own.run.active) or (own.saved is not None and own.saved.run is not None):
        return None
    return above.nursery


def _key_of(kept: _Kept) -> _Key | None:
    """Return by what a run is found that has another name now; None if too little is known of it."""
    started, received = kept.begun
    return _make_key(kept.workflow, received.type, (received.body, started.carried), told=kept.book.redacted)


def _make_key(workflow: str, type: str, bodies: tuple[Body, Body | None], *, told: bool) -> _Key | None:
    event, carried = (b"" if body is None else body.json if told else body.whole for body in bodies)
    if any(mark in text for mark in _MARKS for text in (event, carried)):
        return None  # what is missing in it may differ
    return told, workflow, type, _settle(event), _settle(carried)


def _agree(kept: _Kept, wanted: _Wanted) -> bool:
    """Tell whether a run of the same name began with the same, as far as it is known."""
    (started, received), told = kept.begun, kept.book.redacted
    if kept.workflow != wanted.workflow or received.type != wanted.type:
        return False
    for old, new in ((received.body, wanted.event), (started.carried, wanted.carried)):
        if old is None or new is None:
            if old is not new:
                return False
        elif _settle(old.whole) != _settle(new.json if told else new.whole):
            return False
    return True


def _settle(text: bytes) -> bytes:
    """Write JSON in the one way in which all that says the same is written."""
    return msgspec.json.encode(_plain(msgspec.json.decode(text)), order="sorted") if text else text


_MARKED = 8  # characters at the end of a name that say which attempt began the run
_MARKS = (f'"{OPAQUE}"'.encode(), f'"{REDACTED}"'.encode())


def _plain(value: object) -> object:
    """Leave out of what JSON cannot hold how it looked, which has addresses in it."""
    if isinstance(value, dict):
        return value[OPAQUE] if OPAQUE in value else {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
