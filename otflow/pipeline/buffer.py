"""What waits to be sent: encoded spans within bounded memory, and what happens to those for which there is no room.

As long as someone empties it (a receiver that answers, or files), whoever brings a span is held back until there is
room, for a bounded time; otherwise the span is dropped, and counted. One thread takes the batches out. It knows bytes
and their origin, and nobody outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Condition, RLock, get_ident
from typing import NamedTuple

from otflow.pipeline.encoding import Origin
from otflow.pipeline.tally import Tally
from otflow.pipeline.target import Limits

__all__ = ["Batch", "Buffer"]

_HALF = 2
_SPAN_COST = 160  # bytes that a waiting span takes beside its own


class Batch(NamedTuple):
    """Spans that go into one request, by their origin."""

    groups: Mapping[Origin, Sequence[bytes]]
    spans: int

    def halve(self) -> tuple[Batch, Batch]:
        """Return two batches of half the spans each."""
        every = [(origin, span) for origin, spans in self.groups.items() for span in spans]
        middle = len(every) // 2
        return _group(every[:middle]), _group(every[middle:])


def _group(spans: Sequence[tuple[Origin, bytes]]) -> Batch:
    groups: dict[Origin, list[bytes]] = {}
    for origin, span in spans:
        groups.setdefault(origin, []).append(span)
    return Batch(groups, len(spans))


class Buffer:
    """Encoded spans that wait, in the order in which they came.

    Args:
        limits: how much may wait.
        now: seconds of a clock that only goes forward.
        spooled: whether what a receiver does not take goes into files, so that there will be room all the same.

    Attributes:
        tally: what became of the spans that it was given.
        away: whether the receiver did not take the last request.
    """

    def __init__(self, limits: Limits, now: Callable[[], float], *, spooled: bool = False) -> None:
        self._limits = limits
        self._spooled = spooled
        self._now = now
        # the garbage collector may end a span of someone's while this very thread is in here
        self._lock = RLock()
        self._work = Condition(self._lock)  # for the thread that takes batches out
        self._room = Condition(self._lock)  # for those who bring spans
        self._waiting: deque[tuple[Origin, bytes]] = deque()
        self._bytes = 0
        # a queue that is shorter than a batch is emptied before it is full
        self._many_spans = (
            min(limits.batch_spans, max(1, limits.spans // _HALF)) if limits.spans else limits.batch_spans
        )
        self._many_bytes = min(limits.batch_bytes, limits.memory // _HALF)
        self._batch_bytes = limits.batch_bytes
        self._idle = False  # the taker sleeps until enough waits
        self._urgent = 0  # how many ask for everything to be sent
        self._closed = False
        self._held_until = 0.0  # when those who are held back now give up; 0 when nobody is
        self._shedding = False
        self._taker = 0
        self.tally = Tally(self._lock)
        self.away = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes of memory are taken."""
        return self._bytes

    # ---------------------------------------------------------------- those who bring spans

    def put(self, origin: Origin, span: bytes) -> None:
        """Add a span; if there is no room, wait for it as long as that may take, or drop the span."""
        size = len(span) + _SPAN_COST
        limits, tally = self._limits, self.tally
        with self._lock:
            tally.accepted += 1
            if self._closed:
                tally.dropped["closed"] += 1
                return
            crowded = limits.spans and len(self._waiting) >= limits.spans
            if (self._bytes + size > limits.memory or crowded) and not self._find_room(size):
                tally.dropped["closed" if self._closed else "full"] += 1
                return
            self._waiting.append((origin, span))
            self._bytes += size
            tally.queued += 1
            if self._idle and self._is_enough():
                self._idle = False
                self._work.notify()

    def put_all(self, spans: Sequence[tuple[Origin, bytes]]) -> None:
        """Add spans in a row; each waits for room as in `put`, if there is none for all."""
        size = sum([len(span) for _, span in spans]) + len(spans) * _SPAN_COST
        limits, tally = self._limits, self.tally
        with self._lock:
            crowded = limits.spans and len(self._waiting) + len(spans) > limits.spans
            if not (self._closed or crowded or self._bytes + size > limits.memory):
                tally.accepted += len(spans)
                tally.queued += len(spans)
                self._waiting.extend(spans)
                self._bytes += size
                if self._idle and self._is_enough():
                    self._idle = False
                    self._work.notify()
                return
        for origin, span in spans:
            self.put(origin, span)

    def _find_room(self, size: int) -> bool:
        """Wait until half of the memory is free; tell whether there is room for a span."""
        if size > self._limits.memory:  # there never will be
            return False
        give_up = self._now() + self._limits.max_block
        while not self._has_room(size):
            if self._is_stuck or self._shedding or self._closed or get_ident() == self._taker:
                return False
            until = min(self._held_until or give_up, give_up)
            self._held_until = until  # whoever comes later gives up with those who wait
            self._idle = False
            self._work.notify()
            left = until - self._now()
            if left <= 0 or not self._room.wait(left):
                self._shedding = not self._is_roomy()  # until there is room again, nobody else waits
                self._held_until = 0.0
                break
        return self._has_room(size) and not self._closed

    def _has_room(self, size: int) -> bool:
        return self._is_roomy() and self._bytes + size <= self._limits.memory

    def _is_roomy(self) -> bool:
        limits = self._limits
        few = not limits.spans or len(self._waiting) <= limits.spans // _HALF
        return few and self._bytes <= limits.memory // _HALF

    @property
    def _is_stuck(self) -> bool:
        """Whether nobody empties the memory."""
        return self.away and not self._spooled

    @property
    def pressed(self) -> float:
        """How scarce the second half of the memory is, from 0 to 1, while someone empties it."""
        if self._is_stuck or self._shedding or not self._bytes:
            return 0.0
        return max(0.0, _HALF * self._bytes / self._limits.memory - 1)

    # ---------------------------------------------------------------- the one who takes them out

    def _is_enough(self) -> bool:
        held = self._held_until > 0.0
        return held or len(self._waiting) >= self._many_spans or self._bytes >= self._many_bytes

    def take(self, patience: float = float("inf")) -> Batch | None:
        """Wait for spans and return those for one request.

        Args:
            patience: seconds after which an empty batch is returned if no span comes; default: never.

        Returns:
            The batch, or None when the buffer is closed and empty.
        """
        with self._lock:
            self._taker = get_ident()
            start = self._now()
            while not (self._waiting and (self._is_enough() or self._urgent or self._closed)):
                if self._closed:
                    return None
                if self._waiting:
                    if not self._idle_until(start + self._limits.interval):
                        break
                elif not self._idle_until(start + patience):
                    return Batch({}, 0)
            batch = self._cut()
            self._relieve()
            return batch

    def _idle_until(self, deadline: float) -> bool:
        """Sleep until there may be something to do; tell whether the deadline is still ahead."""
        left = deadline - self._now()
        if left <= 0:
            return False
        self._idle = True
        self._work.wait(min(left, self._limits.interval))
        self._idle = False
        return True

    def _cut(self) -> Batch:
        limits, waiting = self._limits, self._waiting
        chosen: list[tuple[Origin, bytes]] = []
        size = 0
        while waiting and len(chosen) < limits.batch_spans:
            length = len(waiting[0][1])
            if chosen and size + length > self._batch_bytes:
                break
            chosen.append(waiting.popleft())
            size += length
        self._bytes -= size + len(chosen) * _SPAN_COST
        return _group(chosen)

    def _relieve(self) -> None:
        """Let those go on who are held back, once there is room."""
        if (self._held_until or self._shedding) and self._is_roomy():
            self._held_until, self._shedding = 0.0, False
            self._room.notify_all()

    def report(self, *, away: bool) -> None:
        """Note whether the receiver took the last request; nobody is held back for one that does not, without files."""
        with self._lock:
            self.away = away
            if self._is_stuck and self._held_until:
                self._held_until = 0.0
                self._room.notify_all()

    def shrink(self, size: int) -> None:
        """Make no batches of this many bytes any more: they were too large for the receiver."""
        with self._lock:
            self._batch_bytes = max(1, min(self._batch_bytes, size // _HALF))
            self._many_bytes = min(self._many_bytes, self._batch_bytes)

    # ---------------------------------------------------------------- the end

    def hurry(self) -> Callable[[], None]:
        """Have everything sent as soon as possible, until the function that is returned is called."""
        with self._lock:
            self._urgent += 1
            self._work.notify()

        def calm() -> None:
            with self._lock:
                self._urgent -= 1

        return calm

    def close(self) -> None:
        """Take no more spans."""
        with self._lock:
            self._closed = True
            self._work.notify()
            self._room.notify_all()

    def drain(self) -> list[Batch]:
        """Take everything out at once, in batches; for the end."""
        with self._lock:
            found = []
            while self._waiting:
                found.append(self._cut())
            self._relieve()
            return found
