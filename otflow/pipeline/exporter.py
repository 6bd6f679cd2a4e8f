"""The thread that sends: batch after batch, again when the receiver asks for it, and never for ever.

It is started by the first span, so nothing runs in a process that makes none; a child of a fork begins anew, with
nothing of its parent's. What is sent is not traced itself. It knows batches and answers, no span.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from threading import Event, RLock, Thread
from typing import assert_never

from opentelemetry import context

from otflow.pipeline.buffer import Batch, Buffer
from otflow.pipeline.encoding import Origin, encode_request
from otflow.pipeline.losses import Losses
from otflow.pipeline.replaying import replay
from otflow.pipeline.spool import Spool
from otflow.pipeline.tally import Status
from otflow.pipeline.target import Answer, Limits, Refused, Retry, Sender, Sent, TooLarge

__all__ = ["Exporter", "Status"]

_FIRST_DELAY, _MAX_DELAY = 0.2, 5.0  # seconds
_LONGEST_WISH = 30.0  # seconds that a receiver may ask for
_BRAKE = 0.05  # seconds for which a run stands back, between two turns, when the memory is nearly full
_LAST_TRIES = 3  # requests in a row, the last of them at the end, after which there is no more hope
_RARELY = 60.0  # seconds between two looks for files that other processes have left
_QUIET = (  # for the instrumentations of the libraries that send; the plain texts are what older ones look for
    context._SUPPRESS_INSTRUMENTATION_KEY,  # noqa: SLF001  they have no other name
    context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # noqa: SLF001
    "suppress_instrumentation",
    "suppress_http_instrumentation",
)


class Exporter:
    """Sends encoded spans to a receiver.

    Args:
        connect: makes the sender, when the first request is due.
        place: the receiver as people know it.
        limits: memory, sizes and times.
        spool: where to keep what cannot be sent; default None: in memory only.
        timeout: seconds for one request; default 10.
    """

    def __init__(
        self,
        connect: Callable[[], Sender],
        place: str,
        limits: Limits,
        spool: Spool | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._connect = connect
        self._place = place
        self._limits = limits
        self._spool = spool
        self._timeout = timeout
        self._chance = Random()  # noqa: S311  of its own: the program may have seeded the common one
        self._begin()

    def _begin(self) -> None:
        self.buffer = Buffer(self._limits, time.monotonic, spooled=self._spool is not None)
        self._lock = RLock()
        self._thread: Thread | None = None
        self._sender: Sender | None = None
        self._flying: list[Batch] = []  # what was taken out of memory, and nothing is known of yet
        self._stop, self._end = Event(), Event()
        self._deadline = float("inf")  # when the last request has to be over
        self._losses = Losses(self.buffer.tally, self._place)
        self._failures = 0  # requests in a row that were not taken
        self._next_try = 0.0  # until then it is of no use to ask the receiver again
        self._hopeless = False
        self._files = self._spool is not None  # there may be some

    # ---------------------------------------------------------------- for everybody

    def put(self, origin: Origin, span: bytes) -> None:
        """Hand a span over."""
        self.buffer.put(origin, span)
        if self._thread is None:
            self._start()

    def put_all(self, spans: Sequence[tuple[Origin, bytes]]) -> None:
        """Hand spans over, in a row."""
        self.buffer.put_all(spans)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stop.is_set():
                return
            thread = Thread(target=self._run, name="otflow-exporter", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # too many threads, or the interpreter is about to end: nobody takes anything
                self.buffer.report(away=True)

    def restart(self) -> None:
        """Begin anew in the child of a fork: what waits is the parent's, and so is the thread."""
        self._begin()

    def status(self) -> Status:
        """Tell how things stand."""
        return self.buffer.tally.read(reachable=not self.buffer.away)

    def brake(self) -> float:
        """Return for how many seconds a run shall stand back, so that the receiver keeps up: mostly 0."""
        return _BRAKE * self.buffer.pressed

    def flush(self, timeout: float) -> bool:
        """Wait until everything is sent that was handed over by now, for so many seconds; tell whether it is."""
        tally = self.buffer.tally
        calm = self.buffer.hurry()
        try:
            done = tally.wait(tally.queued, timeout)
        finally:
            calm()
        status = self.status()
        return done and not status.dropped and not status.spooled

    def close(self, timeout: float) -> None:
        """Send what waits, for so many seconds, and end; what cannot be sent by then is kept in files, or counted."""
        self._deadline = time.monotonic() + timeout
        self.buffer.close()
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)
        with self._lock:  # if the thread hangs in a request, its answer counts no more
            self._end.set()
            if self._spool is not None:
                for batch in (*self._flying, *self.buffer.drain()):
                    self._keep(batch, encode_request(batch.groups))
        self.buffer.tally.close("exit")
        self._losses.sum_up()

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        around = context.get_current()
        for key in _QUIET:
            around = context.set_value(key, True, around)
        context.attach(around)
        while not self._end.is_set() and (batch := self.buffer.take(self._patience())) is not None:
            try:
                if batch.spans:
                    self._deliver(batch)
                self._empty_spool()
            except Exception as error:  # nobody else would send what comes after
                self._give_up(f"{type(error).__name__}: {error}")
        if self._sender is not None:
            self._sender.close()

    def _give_up(self, reason: str) -> None:
        """Count what was about to be sent as lost."""
        with self._lock:
            lost = sum(batch.spans for batch in self._flying)
            self._flying.clear()
            if not self._end.is_set():
                self._losses.add("refused", lost, reason)

    def _patience(self) -> float:
        """Return the seconds after which the spool deserves another look, even if no span comes."""
        if self._spool is None:
            return float("inf")
        return max(0.0, self._next_try - time.monotonic()) if self._files else _RARELY

    def _deliver(self, batch: Batch) -> None:
        """Send a batch, until it is taken, kept in a file, or lost."""
        flying = self._flying = [batch]
        while flying:
            first = flying[0]
            request = encode_request(first.groups)
            answer = self._send(request)
            with self._lock:
                if self._end.is_set():
                    return
                rest = self._settle(answer, first, request)
                flying[:1] = rest
            if rest == [first] and not self._wait():
                self._losses.add("exit", sum(each.spans for each in flying), "there was no time left")
                flying.clear()

    def _wait(self) -> bool:
        """Wait until the receiver may be asked again; tell whether that makes sense."""
        late = self._stop.is_set()
        (self._end if late else self._stop).wait(max(0.0, min(self._next_try, self._deadline) - time.monotonic()))
        return not self._hopeless and time.monotonic() < self._deadline

    def _settle(self, answer: Answer, batch: Batch, request: bytes) -> Sequence[Batch]:
        """Do what an answer asks for; return what has to be sent again."""
        match answer:
            case Sent(rejected=rejected, reason=reason):
                rejected = max(0, min(rejected, batch.spans))
                self.buffer.tally.settle(sent=batch.spans - rejected)
                if rejected:
                    self._losses.add("rejected", rejected, reason)
            case Refused(reason=reason):
                self._losses.add("refused", batch.spans, reason)
            case TooLarge(reason=reason):
                self.buffer.shrink(len(request))
                if batch.spans > 1:
                    return batch.halve()
                self._losses.add("too_large", 1, reason)
            case Retry():
                if self._spool is None:
                    return [batch]
                self._keep(batch, request)
            case _:
                assert_never(answer)
        return ()

    def _keep(self, batch: Batch, request: bytes) -> None:
        """Write a request into a file."""
        if self._spool is not None and self._spool.write(request, batch.spans):
            self._files = True
            self.buffer.tally.settle(spooled=batch.spans)
        else:
            self._losses.add("spool_full", batch.spans, "the spool is full, or cannot be written")

    def _send(self, request: bytes) -> Answer:
        """Ask the receiver, unless it is known to be of no use yet."""
        now = time.monotonic()
        if self._spool is not None and now < self._next_try:
            return Retry("it is too early")
        left = min(self._timeout, self._deadline - now)
        if left <= 0 or self._hopeless:
            return Retry("there is no time left")
        try:
            if self._sender is None:
                self._sender = self._connect()
            answer = self._sender.send(request, left)
        except Exception as error:  # a certificate that is missing, a fault of a library: never the end of the thread
            answer = Refused(f"{type(error).__name__}: {error}")
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        if not isinstance(answer, Retry):
            self._failures, self._next_try = 0, 0.0
            self.buffer.report(away=False)
            return
        self._failures += 1
        self._hopeless = self._stop.is_set() and self._failures >= _LAST_TRIES
        delay = min(_MAX_DELAY, _FIRST_DELAY * 2 ** min(self._failures - 1, 10)) * self._chance.uniform(0.8, 1.2)
        if answer.after is not None:
            delay = min(answer.after, _LONGEST_WISH)
        self._next_try = time.monotonic() + delay
        self.buffer.report(away=True)
        where = "in files" if self._spool is not None else f"up to {self._limits.memory >> 20} MiB, then dropped"
        self._losses.tell("away", "%s does not take spans (%s). They are kept, %s.", self._place, answer.reason, where)

    # ---------------------------------------------------------------- what lies in files

    def _empty_spool(self) -> None:
        """Send what lies in files, as long as the receiver takes it, and no more waits in memory than a batch."""
        spool, batch = self._spool, self._limits.batch_spans
        while spool is not None and not self._stop.is_set() and time.monotonic() >= self._next_try:
            taken = spool.take()
            self._files = taken is not None
            if taken is None:
                return
            settle = self.buffer.tally.unspool(taken.spans, ours=taken.ours)
            replay(spool, taken, self._send(taken.request), settle, self._losses)
            if len(self.buffer) >= batch or self.buffer.pressed:
                return
