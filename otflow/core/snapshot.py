"""A run's state as plain data and back: for saving a context in the middle of a run, and for carrying leftovers over.

What was running is queued again, first in its lane and with its attempt number: after a restart step bodies run at
least once. Bodies stand in the data as their JSON says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from otflow.core.plan import Plan
from otflow.core.state import Buffer, Collectable, Delivered, Invocation, Lane, Question, RunState, Wait
from otflow.errors import ContextSerdeError
from otflow.records.body import Body
from otflow.records.codec import read_body, write_body, write_whole
from otflow.records.identity import Whereabouts
from otflow.records.record import FORMAT, About, EventBuffered, EventReceived, EventSent

__all__ = [
    "Leftovers",
    "SavedRun",
    "carry_in",
    "carry_out",
    "check_saved",
    "held_events",
    "pack",
    "read_saved",
    "restore",
    "save",
]


class SavedInvocation(msgspec.Struct, omit_defaults=True):
    """An invocation: not started (id 0), to run again, or delayed (due > 0)."""

    step: str
    event: int
    id: int = 0
    attempt: int = 1
    first_at: int = 0
    due: int = 0
    buffered: list[str] = []
    collected: dict[str, list[int]] = {}
    answers: list[tuple[str, int, int]] = []
    recoveries: tuple[str, ...] = ()
    sent: list[tuple[str, str, str]] = []


class SavedBuffer(msgspec.Struct, omit_defaults=True):
    """A buffer of a step: the ids of its events by type, in order of arrival."""

    step: str
    name: str
    events: dict[str, list[int]]
    expected: tuple[tuple[str, int], ...] = ()


class SavedRun(msgspec.Struct, omit_defaults=True):
    """A run between two inputs. `events` holds every record that anything else refers to, once.

    `reopened`: waits that steps have not come to again; `asked`: questions that nobody has answered; `trace`: for
    spans; `state`: what the context brings along.
    """

    format: int
    run: str
    seq: int
    workflow: str
    digest: str
    events: list[EventSent | EventReceived | EventBuffered] = []
    queued: list[SavedInvocation] = []
    delayed: list[SavedInvocation] = []
    buffers: list[SavedBuffer] = []
    waits: list[Wait] = []
    reopened: list[tuple[int, str, int]] = []
    mail: dict[str, list[int]] = {}
    held: list[int] = []
    questions: int = 0
    asked: list[Question] = []
    timeout: float | None = None
    stepwise: bool = False
    about: About | None = None
    trace: Whereabouts | None = None
    state: Body | None = None


class Leftovers(msgspec.Struct, omit_defaults=True):
    """What the next run on the same context inherits: the written state, and events that were buffered.

    Their ids are negative, so that they cannot be mistaken for ids of the new run.
    """

    state: Body | None = None
    events: list[EventSent | EventReceived | EventBuffered] = []
    buffers: list[SavedBuffer] = []


class _Version(msgspec.Struct):
    format: int


_UNCHANGED = "It has to be what Context.to_dict() gave, unchanged."
_VERSION = msgspec.json.Decoder(_Version)
_ENCODER = msgspec.json.Encoder(enc_hook=write_whole)
_TELLER = msgspec.json.Encoder(enc_hook=write_body)
_DECODER = msgspec.json.Decoder(SavedRun, dec_hook=read_body)
_LEFTOVERS = msgspec.json.Decoder(Leftovers, dec_hook=read_body)


class LeftoversBody(Body):
    """A payload whose live object is `Leftovers`."""

    __slots__ = ()

    @property
    def json(self) -> bytes:
        """The leftovers as JSON, of which each part is what may be told of it."""
        if self._json is None:
            self._json = _TELLER.encode(self.live)
        return self._json

    @property
    def whole(self) -> bytes:
        """The leftovers as JSON, with all that is in them."""
        if self._whole is None:
            self._whole = _ENCODER.encode(self.live)
        return self._whole

    def fix(self) -> None:
        """Make the JSON now."""
        self._json = self.json


class _Events:
    """The records that a snapshot refers to, each once."""

    def __init__(self) -> None:
        self.by_seq: dict[int, Collectable] = {}

    def name(self, event: Collectable | None) -> int:
        if event is None:
            return 0
        self.by_seq[event.seq] = event
        return event.seq

    def all(self, events: Iterable[Collectable]) -> list[int]:
        return [self.name(event) for event in events]


def save(state: RunState, trace: Whereabouts | None = None, asked: Sequence[Question] = ()) -> Body:
    """Write the state of a run as data that JSON can hold.

    Args:
        state: the state.
        trace: where the run stands in its trace; default None: it has none.
        asked: the questions that nobody has answered, for another run, whose records do not have them; default none.
    """
    events = _Events()
    queued = [_save_invocation(events, i) for i in state.running.values()]
    queued += [_save_invocation(events, i) for lane in state.lanes.values() for i in lane.queue]
    delayed = [_save_invocation(events, i) for i in state.delayed.values()]
    known = {i.id for i in (*queued, *delayed)}
    saved = SavedRun(
        format=FORMAT,
        run=state.run,
        seq=state.seq,
        workflow=state.plan.workflow,
        digest=state.plan.digest,
        queued=queued,
        delayed=delayed,
        buffers=_save_buffers(events, state),
        waits=list(state.waits.values()),
        reopened=sorted(wait for wait in state.reopened if wait[0] in known),
        mail={kind: events.all(mail) for kind, mail in state.mail.items()},
        held=events.all(state.held.values()),
        questions=state.questions,
        asked=list(asked),
        timeout=state.timeout,
        stepwise=state.stepwise,
        about=state.about,
        trace=trace,
    )
    saved.events = list(events.by_seq.values())
    return Body(json=_ENCODER.encode(saved))


def read_saved(snapshot: Body) -> SavedRun:
    """Read saved data.

    Raises:
        ContextSerdeError: the data has another shape or version.
    """
    try:
        version = _VERSION.decode(snapshot.whole).format
        if version == FORMAT:
            return _DECODER.decode(snapshot.whole)
    except msgspec.MsgspecError as error:
        raise ContextSerdeError(f"The saved run is damaged: {error}. {_UNCHANGED}") from error
    raise ContextSerdeError(
        f"The saved run has the format {version}, and this release of otflow reads the format {FORMAT}. "
        "Restore it with the release that saved it, or start a new run."
    )


def check_saved(saved: SavedRun, plan: Plan) -> None:
    """Make sure that a run of this workflow can go on from saved data.

    Raises:
        ContextSerdeError: it has work for steps that the workflow does not have, or refers to events it lacks.
    """
    if gone := {i.step for i in (*saved.queued, *saved.delayed)} - plan.steps.keys():
        raise ContextSerdeError(
            f"The saved run {saved.run} of workflow '{saved.workflow}' has work for {', '.join(sorted(gone))}, and "
            f"workflow '{plan.workflow}' has no such step. Restore it with the workflow that it was saved from."
        )
    known = {event.seq: event for event in saved.events}
    delivered = {seq for seq, event in known.items() if not isinstance(event, EventBuffered)}
    sent = {seq for seq, event in known.items() if isinstance(event, EventSent)}
    if not (
        delivered.issuperset(_delivered_ids(saved))
        and sent.issuperset(saved.held)
        and known.keys() >= {*_collected_ids(saved), *_buffered_ids(saved.buffers)}
    ):
        raise ContextSerdeError(f"The saved run {saved.run} is damaged: it lacks events of its own. {_UNCHANGED}")


def _delivered_ids(saved: SavedRun) -> Iterator[int]:
    for invocation in (*saved.queued, *saved.delayed):
        yield invocation.event
        yield from (event for _, _, event in invocation.answers if event)
    for mail in saved.mail.values():
        yield from mail


def _collected_ids(saved: SavedRun) -> Iterator[int]:
    for invocation in (*saved.queued, *saved.delayed):
        for taken in invocation.collected.values():
            yield from taken


def _buffered_ids(buffers: Iterable[SavedBuffer]) -> Iterator[int]:
    for buffer in buffers:
        for kept in buffer.events.values():
            yield from kept


def held_events(saved: SavedRun) -> list[EventSent]:
    """Give the events that were held when the run was saved, in order."""
    events = {event.seq: event for event in saved.events if isinstance(event, EventSent)}
    return [events[seq] for seq in saved.held]


def restore(state: RunState, snapshot: Body) -> None:
    """Fill the state of a run, of which nothing is recorded yet, from saved data."""
    saved = read_saved(snapshot)
    events = {event.seq: event for event in saved.events}
    state.timeout = saved.timeout
    state.stepwise = saved.stepwise
    state.questions = saved.questions
    state.about = saved.about
    for data in saved.queued:
        state.lanes[data.step].queue.append(_load_invocation(events, data))
    for data in saved.delayed:
        state.delayed[data.id] = _load_invocation(events, data)
    _load_buffers(events, state.lanes, saved.buffers)
    state.held = {event.seq: event for event in held_events(saved)}
    for kind, mail in saved.mail.items():
        state.mail[kind] = deque(_delivered(events[seq]) for seq in mail)
    # a wait is opened again by the attempt that runs again; that its question was asked outlives it
    state.reopened = {*saved.reopened, *((wait.invocation, wait.waiter, wait.occurrence) for wait in saved.waits)}


def carry_out(state: RunState) -> Leftovers:
    """Write down the buffered events that the next run on the same context inherits."""
    events = _Events()
    buffers = _save_buffers(events, state)
    ids = {seq: -number for number, seq in enumerate(events.by_seq, 1)}
    for buffer in buffers:
        buffer.events = {kind: [ids[seq] for seq in some] for kind, some in buffer.events.items()}
    kept = [msgspec.structs.replace(event, seq=ids[seq]) for seq, event in events.by_seq.items()]
    return Leftovers(None, kept, buffers)


def read_leftovers(carried: Body) -> Leftovers:
    """Read what an earlier run left over.

    Raises:
        ContextSerdeError: the data has another shape, or refers to events it lacks.
    """
    if isinstance(carried.live, Leftovers):
        return carried.live
    try:
        leftovers = _LEFTOVERS.decode(carried.whole)
    except msgspec.MsgspecError as error:
        raise ContextSerdeError(f"Saved leftovers of a run are damaged: {error}. {_UNCHANGED}") from error
    if not {event.seq for event in leftovers.events}.issuperset(_buffered_ids(leftovers.buffers)):
        raise ContextSerdeError(f"Saved leftovers of a run are damaged: they lack events of their own. {_UNCHANGED}")
    return leftovers


def pack(leftovers: Leftovers) -> Body:
    """Make the payload for `RunStarted`; in this process it carries the live events."""
    return LeftoversBody(leftovers)


def carry_in(state: RunState, carried: Body) -> None:
    """Put what an earlier run left over into the state of a new one."""
    leftovers = read_leftovers(carried)
    _load_buffers({event.seq: event for event in leftovers.events}, state.lanes, leftovers.buffers)


def _save_invocation(events: _Events, invocation: Invocation) -> SavedInvocation:
    return SavedInvocation(
        step=invocation.step,
        event=events.name(invocation.event),
        id=invocation.id,
        attempt=invocation.attempt,
        first_at=invocation.first_at,
        due=invocation.due,
        buffered=sorted(invocation.buffered or ()),
        collected={name: events.all(some) for name, some in (invocation.collected or {}).items()},
        answers=[(*key, events.name(event)) for key, event in (invocation.answers or {}).items()],
        recoveries=invocation.recoveries,
        sent=invocation.sent or [],
    )


def _load_invocation(events: dict[int, Collectable], data: SavedInvocation) -> Invocation:
    return Invocation(
        data.step,
        _delivered(events[data.event]),
        data.id,
        data.attempt,
        data.first_at,
        data.due,
        data.recoveries,
        buffered=set(data.buffered) or None,
        collected={name: tuple(events[seq] for seq in some) for name, some in data.collected.items()} or None,
        answers={(w, n): _delivered(events[seq]) if seq else None for w, n, seq in data.answers} or None,
        sent=data.sent or None,
    )


def _delivered(event: Collectable) -> Delivered:
    if isinstance(event, EventBuffered):
        raise ContextSerdeError(f"The saved event {event.seq} was only buffered, never delivered. {_UNCHANGED}")
    return event


def _save_buffers(events: _Events, state: RunState) -> list[SavedBuffer]:
    return [
        SavedBuffer(step, name, {kind: events.all(some) for kind, some in buffer.events.items()}, buffer.expected)
        for step, lane in state.lanes.items()
        for name, buffer in lane.buffers.items()
    ]


def _load_buffers(events: dict[int, Collectable], lanes: dict[str, Lane], buffers: list[SavedBuffer]) -> None:
    for data in buffers:
        if (lane := lanes.get(data.step)) is None:
            continue
        kept = {kind: deque(events[seq] for seq in some) for kind, some in data.events.items()}
        lane.buffers[data.name] = Buffer(sum(map(len, kept.values())), kept, data.expected)
