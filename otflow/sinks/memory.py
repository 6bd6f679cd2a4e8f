"""Memory: the records of the last runs of this process, so that what just ran can be drawn.

Records are kept as JSON: a history holds no object of a user, and its size is known. It is bounded: when it holds too
many runs or bytes, the run that was heard of least lately goes; of a run that is too large alone its earliest records
go, and whoever reads it finds the gap. This room knows no drawing and no file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import msgspec

from otflow.records.codec import encode_all, read_body
from otflow.records.record import Record, RunStarted

__all__ = ["MemorySink"]

_DECODER: msgspec.json.Decoder[list[Record]] = msgspec.json.Decoder(list[Record], dec_hook=read_body)
_run_of = attrgetter("run")


class _Kept:
    """The records of one run, as arrays of JSON in the order in which they came."""

    __slots__ = ("batches", "size", "workflow")

    def __init__(self) -> None:
        self.batches: deque[bytes] = deque()
        self.size = 0
        self.workflow = ""


class MemorySink:
    """Keeps the records of the last runs.

    Args:
        runs: how many runs are kept; default 100.
        size: how many bytes of JSON are kept; default 64 MiB.

    Example:
        >>> import asyncio
        >>> from otflow import StartEvent, StopEvent, Workflow, step
        >>> from otflow.dispatcher import Dispatcher
        >>> class Short(Workflow):
        ...     @step
        ...     async def only(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent()
        >>> async def main(dispatcher: Dispatcher) -> None:
        ...     await Short(dispatcher=dispatcher).run(run_id="one")
        >>> dispatcher, memory = Dispatcher(), MemorySink()
        >>> detach = dispatcher.attach(memory, patient=True)
        >>> asyncio.run(main(dispatcher))
        >>> memory.runs(), len(memory.read("one"))
        (['one'], 6)
    """

    def __init__(self, runs: int = 100, size: int = 64 * 1024 * 1024) -> None:
        self._most = max(1, runs)
        self._room = max(0, size)
        self._size = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()  # runs of several threads share it

    def __call__(self, records: Sequence[Record]) -> None:
        """Keep a batch: mostly records of one run."""
        if not records:
            return
        if records[0].run == records[-1].run:
            self._keep(records)
        else:
            for _, some in groupby(records, _run_of):
                self._keep(list(some))

    def _keep(self, records: Sequence[Record]) -> None:
        batch = encode_all(records)
        first = records[0]
        with self._lock:
            kept = self._kept.get(first.run)
            if kept is None:
                kept = self._kept[first.run] = _Kept()
            else:
                self._kept.move_to_end(first.run)
            if isinstance(first, RunStarted):
                kept.workflow = first.workflow
            kept.batches.append(batch)
            kept.size += len(batch)
            self._size += len(batch)
            if self._size > self._room or len(self._kept) > self._most:
                self._make_room()

    def _make_room(self) -> None:
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._size > self._room):
            _, gone = self._kept.popitem(last=False)
            self._size -= gone.size
        kept = next(reversed(self._kept.values()))
        while self._size > self._room and len(kept.batches) > 1:
            lost = len(kept.batches.popleft())
            kept.size -= lost
            self._size -= lost

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._size

    def runs(self, workflow: str | None = None) -> list[str]:
        """Return the ids of the runs that are kept, the one that was heard of last first.

        Args:
            workflow: only those of workflows of this name; default all.
        """
        with self._lock:
            return [id for id, kept in reversed(self._kept.items()) if workflow in (None, kept.workflow)]

    def read(self, run: str) -> list[Record]:
        """Return the records of a run that are kept; none if it is not known.

        Args:
            run: its id.
        """
        return list(self._decode(run))

    def _decode(self, run: str) -> Iterator[Record]:
        with self._lock:
            kept = self._kept.get(run)
            batches = tuple(kept.batches) if kept is not None else ()
        for batch in batches:
            yield from _DECODER.decode(batch)

    def clear(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._kept.clear()
            self._size = 0
