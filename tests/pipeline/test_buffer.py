"""What waits to be sent stays within bounds, is taken out in order, and is never lost without being counted."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from opentelemetry.sdk.resources import Resource

from otflow.pipeline.buffer import Batch, Buffer
from otflow.pipeline.encoding import Origin
from otflow.pipeline.target import Limits

GENEROUS = 60.0
COST = 160  # what a span takes beside its bytes
HERE, THERE = Origin(Resource({"here": 1}), None), Origin(Resource({"there": 1}), None)


class Clock:
    """A clock that stands still, until it is set; and tells when it was looked at."""

    def __init__(self) -> None:
        self.time = 100.0
        self.looked = Event()

    def __call__(self) -> float:
        self.looked.set()
        return self.time


def make(*, spooled: bool = False, **limits: object) -> Buffer:
    """Make a buffer whose batches are due at once."""
    wanted = Limits(**{"memory": 10_000, "interval": 0.001, "max_block": GENEROUS, **limits})
    return Buffer(wanted, Clock(), spooled=spooled)


def spans_of(batch: Batch | None) -> list[bytes]:
    """Return the spans of a batch."""
    assert batch is not None
    found = [span for spans in batch.groups.values() for span in spans]
    assert len(found) == batch.spans
    return found


def take(buffer: Buffer) -> Batch:
    """Take a batch that is there."""
    calm = buffer.hurry()
    batch = buffer.take()
    calm()
    assert batch is not None
    return batch


def put_in_thread(buffer: Buffer, *spans: bytes) -> Thread:
    """Bring spans in a thread, which is held back when there is no room."""
    thread = Thread(target=lambda: [buffer.put(HERE, span) for span in spans], daemon=True)
    thread.start()
    return thread


def fill(buffer: Buffer, size: int = 1000 - COST) -> None:
    """Fill a buffer of 10,000 bytes with ten spans."""
    for number in range(10):
        buffer.put(HERE, bytes([number]) * size)
    assert len(buffer) == 10
    assert buffer.size == 10_000


def test_order_is_kept() -> None:
    """Spans are taken out in the order in which they came, by origin."""
    buffer = make()
    for number in range(10):
        buffer.put(HERE if number % 3 else THERE, bytes([number]))
    batch = take(buffer)
    assert [*batch.groups] == [THERE, HERE]
    assert batch.groups[THERE] == [bytes([n]) for n in (0, 3, 6, 9)]
    assert batch.groups[HERE] == [bytes([n]) for n in (1, 2, 4, 5, 7, 8)]
    assert len(buffer) == buffer.size == 0


@given(
    sizes=st.lists(st.integers(0, 300), max_size=60),
    most=st.integers(1, 10),
    size=st.integers(1, 500),
)
def test_batches_are_within_both_limits(sizes: list[int], most: int, size: int) -> None:
    """No batch has more spans or more bytes than allowed, but for a single span that is larger."""
    buffer = make(memory=1 << 20, batch_spans=most, batch_bytes=size)
    given_spans = [bytes([number % 256]) * length for number, length in enumerate(sizes)]
    for span in given_spans:
        buffer.put(HERE, span)
    found = []
    while len(buffer):
        spans = spans_of(take(buffer))
        assert 0 < len(spans) <= most
        assert len(spans) == 1 or sum(map(len, spans)) <= size
        found += spans
    assert found == given_spans
    assert buffer.size == 0


def test_a_batch_can_be_halved() -> None:
    """Both halves of a batch together hold its spans, each under its origin."""
    batch = Batch({HERE: [b"1", b"2", b"3"], THERE: [b"4", b"5"]}, 5)
    first, second = batch.halve()
    assert (first.groups, first.spans) == ({HERE: [b"1", b"2"]}, 2)
    assert (second.groups, second.spans) == ({HERE: [b"3"], THERE: [b"4", b"5"]}, 3)


def test_a_row_is_added_at_once_or_one_by_one() -> None:
    """Spans that come in a row are all accepted if there is room, and as many as fit otherwise."""
    buffer = make()
    buffer.report(away=True)
    row = [(HERE, bytes([number]) * (1000 - COST)) for number in range(6)]
    buffer.put_all(row)
    assert len(buffer) == 6
    buffer.put_all(row)
    assert (len(buffer), buffer.size) == (10, 10_000)
    status = buffer.tally.read(reachable=False)
    assert (status.accepted, status.waiting, status.dropped) == (12, 10, {"full": 2})


def test_nobody_waits_for_a_receiver_that_is_away() -> None:
    """When the receiver does not answer, a span for which there is no room is dropped at once, and counted."""
    buffer = make()
    fill(buffer)
    buffer.report(away=True)
    buffer.put(HERE, b"more")
    assert len(buffer) == 10
    assert buffer.tally.read(reachable=False).dropped == {"full": 1}
    buffer.report(away=False)
    take(buffer)
    buffer.put(HERE, b"again")
    assert spans_of(take(buffer)) == [b"again"]


def test_who_brings_a_span_is_held_back_until_there_is_room() -> None:
    """While the receiver takes spans, nothing is dropped: who brings more waits until half of the memory is free."""
    buffer = make(batch_spans=1)
    fill(buffer)
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"more")
    assert buffer._now.looked.wait(GENEROUS)
    for _ in range(4):  # 6,000 bytes are left
        assert spans_of(buffer.take()) != [b"more"]
        assert len(buffer) <= 9
    assert thread.is_alive()
    buffer.take()
    thread.join(GENEROUS)
    assert not thread.is_alive()
    assert len(buffer) == 6
    assert buffer.tally.read(reachable=True).dropped == {}


def test_files_are_waited_for() -> None:
    """While the receiver is away and files take the spans, nothing is dropped: who brings more waits for room."""
    buffer = make(spooled=True)
    fill(buffer)
    buffer.report(away=True)
    assert buffer.pressed == 1.0
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"more")
    assert buffer._now.looked.wait(GENEROUS)
    buffer.report(away=True)
    assert thread.is_alive()
    take(buffer)
    thread.join(GENEROUS)
    assert not thread.is_alive()
    status = buffer.tally.read(reachable=False)
    assert (status.dropped, len(buffer)) == ({}, 1)


def test_who_is_held_back_gives_up_when_the_receiver_goes_away() -> None:
    """Nobody waits on for a receiver of which it turns out that it does not answer."""
    buffer = make()
    fill(buffer)
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"more")
    assert buffer._now.looked.wait(GENEROUS)
    buffer.report(away=True)
    thread.join(GENEROUS)
    assert not thread.is_alive()
    assert buffer.tally.read(reachable=False).dropped == {"full": 1}


def test_who_is_held_back_gives_up_when_it_ends() -> None:
    """Closing lets everybody go, and what comes later is counted."""
    buffer = make()
    fill(buffer)
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"more")
    assert buffer._now.looked.wait(GENEROUS)
    buffer.close()
    thread.join(GENEROUS)
    assert not thread.is_alive()
    buffer.put(HERE, b"late")
    buffer.put_all([(HERE, b"late"), (HERE, b"late")])
    assert buffer.tally.read(reachable=True).dropped == {"closed": 4}


@pytest.mark.parametrize("block", [0.0, 0.01])
def test_after_the_bound_spans_are_dropped_until_there_is_room(block: float) -> None:
    """Who waited as long as allowed drops the span; then nobody waits, until half of the memory is free again."""
    buffer = make(max_block=block, batch_spans=1)
    fill(buffer)
    buffer.put(HERE, b"waits, and gives up")
    buffer._limits = buffer._limits._replace(max_block=GENEROUS)
    buffer.put(HERE, b"does not wait")
    assert buffer.tally.read(reachable=True).dropped == {"full": 2}
    for _ in range(5):
        buffer.take()
    buffer.put(HERE, b"again")
    assert len(buffer) == 6
    assert buffer.tally.read(reachable=True).dropped == {"full": 2}
    assert not buffer._shedding


def test_the_bound_is_for_each_and_not_for_each_time() -> None:
    """Who is let go and finds the memory full again waits only for what is left of the bound."""
    clock = Clock()
    buffer = Buffer(Limits(memory=10_000, interval=0.001, max_block=5.0, batch_spans=5), clock)
    fill(buffer)
    waits: list[float] = []

    class Room:
        """A room for those who wait, in which time passes and somebody else is faster."""

        def wait(self, left: float) -> bool:
            waits.append(left)
            clock.time += 2.0
            buffer._held_until = 0.0
            return True

        def notify_all(self) -> None:
            pass

    buffer._room = Room()
    buffer.put(HERE, b"more")
    assert waits == [5.0, 3.0, 1.0]
    assert buffer.tally.read(reachable=True).dropped == {"full": 1}


def test_a_span_that_never_fits_is_dropped_at_once() -> None:
    """Nobody waits with a span that is larger than all memory, and others find their place as before."""
    buffer = make()
    buffer.put(HERE, b"x" * 10_000)
    buffer.put(HERE, b"small")
    assert buffer.tally.read(reachable=True).dropped == {"full": 1}
    assert spans_of(take(buffer)) == [b"small"]


def test_a_large_span_waits_until_it_fits() -> None:
    """A span that needs more than half of the memory waits until that much is free."""
    buffer = make(batch_spans=1)
    fill(buffer)
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"x" * (8000 - COST))
    assert buffer._now.looked.wait(GENEROUS)
    for _ in range(8):
        buffer.take()
    thread.join(GENEROUS)
    assert not thread.is_alive()
    assert buffer.size == 10_000
    assert buffer.tally.read(reachable=True).dropped == {}


def test_the_number_of_spans_can_be_bounded() -> None:
    """Where the number of spans is bounded, it is kept, and what is held back makes the taker hurry."""
    buffer = make(spans=4, batch_spans=100, interval=GENEROUS)
    for number in range(4):
        buffer.put(HERE, bytes([number]))
    buffer._now.looked.clear()
    thread = put_in_thread(buffer, b"more")
    assert buffer._now.looked.wait(GENEROUS)
    assert len(buffer) == 4
    assert len(spans_of(buffer.take())) == 4
    thread.join(GENEROUS)
    assert len(buffer) == 1


@pytest.mark.parametrize("limits", [{"spans": 4, "batch_spans": 100}, {"batch_bytes": 1 << 20}])
def test_what_never_makes_a_batch_is_sent_before_it_is_full(limits: dict[str, int]) -> None:
    """A memory that is smaller than a batch is emptied when it is half full."""
    buffer = make(interval=GENEROUS, **limits)
    for number in range(2):
        buffer.put(HERE, bytes([number]) * (2500 - COST))
    assert len(spans_of(buffer.take())) == 2


def test_an_end_of_a_span_within_the_end_of_a_span() -> None:
    """The garbage collector may end a span while another one is being added by the same thread."""
    buffer = make(batch_spans=1)
    fill(buffer)
    clock = buffer._now

    def now() -> float:
        buffer._now = clock
        buffer.report(away=True)
        buffer.put(THERE, b"inner")
        return clock()

    buffer._now = now
    buffer.put(HERE, b"outer")
    assert buffer.tally.read(reachable=False).dropped == {"full": 2}


def test_the_taker_is_never_held_back() -> None:
    """The thread that takes batches out may itself end spans: of what it sends with."""
    buffer = make(batch_spans=1, memory=1000)
    buffer.put(HERE, b"x" * (1000 - COST))
    buffer.take()
    buffer.put(HERE, b"x" * (1000 - COST))
    buffer.put(HERE, b"more")
    assert buffer.tally.read(reachable=True).dropped == {"full": 1}


def test_the_pressure() -> None:
    """The pressure grows from 0 to 1 with the second half of the memory, and is 0 for a receiver that is away."""
    buffer = make(batch_spans=1)
    assert buffer.pressed == 0
    fill(buffer)
    assert buffer.pressed == 1
    take(buffer)
    take(buffer)
    assert buffer.pressed == pytest.approx(0.6)
    buffer.report(away=True)
    assert buffer.pressed == 0
    assert make(memory=0).pressed == 0


def test_no_memory_at_all() -> None:
    """Without memory everything is dropped, and nobody waits."""
    buffer = make(memory=0)
    buffer.put(HERE, b"")
    assert buffer.tally.read(reachable=True).dropped == {"full": 1}


def test_an_end() -> None:
    """After the end what waits is taken out, and then there is nothing."""
    buffer = make(batch_spans=2)
    for number in range(3):
        buffer.put(HERE, bytes([number]))
    buffer.close()
    assert [len(spans_of(buffer.take())) for _ in range(2)] == [2, 1]
    assert buffer.take() is None


def test_nothing_comes_for_a_while() -> None:
    """Who has other things to do gets an empty batch after the time it gave."""
    assert make().take(patience=0.0) == Batch({}, 0)


def test_batches_shrink() -> None:
    """After a batch was too large for the receiver, there are no more of that size."""
    buffer = make(batch_bytes=1000)
    for number in range(8):
        buffer.put(HERE, bytes([number]) * 100)
    buffer.shrink(400)
    assert len(spans_of(take(buffer))) == 2
    buffer.shrink(10_000)
    assert len(spans_of(take(buffer))) == 2


class Life(RuleBasedStateMachine):
    """Everything that can happen to a buffer, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(memory=3000, spans=12, batch_spans=3, batch_bytes=400, interval=0.0, max_block=0.0)
        self.buffer = Buffer(self.limits, Clock())
        self.model: list[bytes] = []
        self.brought = self.flying = self.sent = self.lost = 0
        self.closed = False

    @rule(size=st.integers(0, 700))
    def put(self, size: int) -> None:
        before = len(self.buffer)
        span = str(self.brought).encode().ljust(size, b".")
        self.buffer.put(HERE, span)
        self.brought += 1
        if len(self.buffer) > before:
            self.model.append(span)
        else:
            self.lost += 1

    @rule(sizes=st.lists(st.integers(0, 300), max_size=6))
    def put_all(self, sizes: list[int]) -> None:
        before = len(self.buffer)
        spans = [f"{self.brought}-{number}".encode().ljust(size, b".") for number, size in enumerate(sizes)]
        self.buffer.put_all([(HERE, span) for span in spans])
        self.brought += len(spans)
        added = [span for _, span in [*self.buffer._waiting][before:]]
        assert [span for span in spans if span in added] == added
        self.model += added
        self.lost += len(spans) - len(added)

    @rule()
    def take(self) -> None:
        batch = self.buffer.take(patience=0.0)
        if batch is None:
            assert self.closed
            assert self.model == []
            return
        spans = spans_of(batch)
        assert self.model[: len(spans)] == spans
        del self.model[: len(spans)]
        self.flying += len(spans)

    @rule(lost=st.booleans())
    def settle(self, *, lost: bool) -> None:
        self.buffer.tally.settle(**{"lost" if lost else "sent": self.flying}, reason="refused")
        self.lost, self.sent = self.lost + self.flying * lost, self.sent + self.flying * (not lost)
        self.flying = 0

    @rule(away=st.booleans())
    def report(self, *, away: bool) -> None:
        self.buffer.report(away=away)

    @rule()
    def refuse(self) -> None:
        self.buffer.tally.refuse("unencodable")
        self.brought += 1
        self.lost += 1

    @rule(chance=st.integers(0, 20))
    def close(self, chance: int) -> None:
        if not chance:
            self.buffer.close()
            self.closed = True

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.buffer.size == sum(map(len, self.model)) + COST * len(self.model) <= self.limits.memory
        assert len(self.buffer) == len(self.model) <= self.limits.spans

    @invariant()
    def the_account_is_right(self) -> None:
        status = self.buffer.tally.read(reachable=True)
        assert status.accepted == self.brought
        assert status.sent == self.sent
        assert status.waiting == len(self.model) + self.flying
        assert sum(status.dropped.values()) == self.lost


TestLife = Life.TestCase


def test_many_threads() -> None:
    """However many bring spans at once, each is sent once or counted as lost, and each one's order is kept."""
    buffer = Buffer(Limits(memory=20_000, batch_spans=16, interval=0.001, max_block=GENEROUS), Clock())
    found: list[bytes] = []

    def run(who: int) -> None:
        for number in range(500):
            span = f"{who}:{number}".encode()
            if number % 2:
                buffer.put(HERE, span)
            else:
                buffer.put_all([(HERE, span)])

    def drain() -> None:
        while (batch := buffer.take()) is not None:
            spans = spans_of(batch)
            found.extend(spans)
            buffer.tally.settle(sent=len(spans))
            assert buffer.size <= 20_000

    taker = Thread(target=drain, daemon=True)
    taker.start()
    threads = [Thread(target=run, args=(who,), daemon=True) for who in range(8)]
    for thread in threads:
        thread.start()
    watching = all_counts(buffer, threads)
    assert all(waiting >= 0 for waiting in watching)
    for thread in threads:
        thread.join(GENEROUS)
    buffer.close()
    taker.join(GENEROUS)
    status = buffer.tally.read(reachable=True)
    assert (status.accepted, status.sent, status.waiting, status.dropped) == (4000, 4000, 0, {})
    for who in range(8):
        own = [int(span.split(b":")[1]) for span in found if span.startswith(f"{who}:".encode())]
        assert own == [*range(500)]


def all_counts(buffer: Buffer, threads: list[Thread]) -> Iterator[int]:
    """Look at the account as long as somebody works: what waits is never negative, and all adds up."""
    while any(thread.is_alive() for thread in threads):
        status = buffer.tally.read(reachable=True)
        assert status.accepted == status.sent + status.waiting + sum(status.dropped.values())
        yield status.waiting
