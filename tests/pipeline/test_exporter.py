"""The way out keeps its promises whatever the receiver does: nothing waits for ever, and nothing is lost in silence."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Condition, Event, Thread, active_count

import pytest
from opentelemetry import context
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled
from opentelemetry.sdk.resources import Resource

from otflow.pipeline import exporter as module
from otflow.pipeline.encoding import Origin
from otflow.pipeline.exporter import Exporter
from otflow.pipeline.http import HttpSender
from otflow.pipeline.spool import Spool
from otflow.pipeline.target import Answer, Limits, Refused, Retry, Sent, Target, TooLarge
from otflow.pipeline.wire import field
from tests.pipeline.receiver import GENEROUS, names_of

HERE = Origin(Resource({"service.name": "here"}), None)
LOG = "otflow.telemetry"


def span(name: object, padding: int = 0) -> bytes:
    """Write a span of this name as the field `spans` of a ScopeSpans message."""
    return field(b"\x12", field(b"\x2a", str(name).encode()) + field(b"\x1a", b"p" * padding))


class Post:
    """A sender that answers as a test wishes, and remembers what was taken.

    Attributes:
        answer: gives the answer to a request, by its number from 0 and its bytes.
        hangs: while it is clear, requests hang.
    """

    def __init__(self, answer: Callable[[int, bytes], Answer] = lambda number, request: Sent()) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.timeouts: list[float] = []
        self.names: list[str] = []
        self.changed = Condition()
        self.free = Event()
        self.free.set()
        self.closed = self.instrumented = False

    def send(self, request: bytes, timeout: float) -> Answer:
        self.instrumented = self.instrumented or is_instrumentation_enabled() or is_http_instrumentation_enabled()
        with self.changed:
            number = len(self.requests)
            self.requests.append(request)
            self.timeouts.append(timeout)
            self.changed.notify_all()
        self.free.wait(GENEROUS)
        answer = self.answer(number, request)
        with self.changed:
            if isinstance(answer, Sent):
                self.names += names_of(request)
            self.changed.notify_all()
        return answer

    def close(self) -> None:
        self.closed = True

    def wait_for(self, enough: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(enough, GENEROUS)


def make(post: Post, spool: Spool | None = None, **limits: object) -> Exporter:
    """Make an exporter that does not wait long for a batch to fill."""
    return Exporter(lambda: post, "the receiver", Limits(**{"interval": 0.001, **limits}), spool)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long between two attempts."""
    monkeypatch.setattr(module, "_FIRST_DELAY", 0.001)
    monkeypatch.setattr(module, "_MAX_DELAY", 0.01)


@pytest.fixture
def hold() -> Iterator[Post]:
    """Make a sender whose requests hang until the test is over."""
    post = Post()
    post.free.clear()
    yield post
    post.free.set()


def balanced(exporter: Exporter) -> bool:
    """Tell whether the account adds up."""
    status = exporter.status()
    found = status.sent + status.waiting + status.spooled + sum(status.dropped.values())
    return status.accepted == found and min(status[1:4]) >= 0


# ---------------------------------------------------------------- the good days


def test_everything_is_sent_once_in_order() -> None:
    """All spans arrive once, in the order in which they were handed over."""
    post = Post()
    exporter = make(post)
    for number in range(5000):
        exporter.put(HERE, span(number))
    assert exporter.flush(GENEROUS)
    assert post.names == [str(number) for number in range(5000)]
    assert exporter.status() == (5000, 5000, 0, 0, {}, True)
    exporter.close(GENEROUS)
    assert post.closed


def test_nothing_runs_before_the_first_span() -> None:
    """There is no thread and no sender before there is a span, and none after the end; an end without a span is one."""
    made: list[Post] = []
    before = active_count()

    def connect() -> Post:
        made.append(Post())
        return made[-1]

    exporter = Exporter(connect, "the receiver", Limits(interval=0.001))
    assert exporter.flush(GENEROUS)
    assert (active_count(), made) == (before, [])
    exporter.put(HERE, span("a"))
    assert active_count() == before + 1
    exporter.close(GENEROUS)
    assert (active_count(), len(made)) == (before, 1)
    make(Post()).close(GENEROUS)


def test_what_is_sent_is_not_traced() -> None:
    """Instrumentations of the libraries that send are told to keep quiet, in that thread only."""
    post = Post()
    exporter = make(post)
    exporter.put(HERE, span("a"))
    exporter.close(GENEROUS)
    assert post.names == ["a"]
    assert not post.instrumented
    assert is_instrumentation_enabled()
    assert context.get_value("suppress_instrumentation") is None


def test_a_flush_sends_what_does_not_make_a_batch() -> None:
    """A flush waits for no batch to fill, and for nothing that is handed over later."""
    post = Post()
    exporter = make(post, interval=GENEROUS)
    exporter.put(HERE, span("a"))
    assert exporter.flush(GENEROUS)
    assert post.names == ["a"]
    exporter.put(HERE, span("b"))
    assert exporter.status().waiting == 1
    exporter.close(GENEROUS)
    assert post.names == ["a", "b"]


# ---------------------------------------------------------------- receivers that do not take everything


def test_it_is_tried_again() -> None:
    """What the receiver wants to have again it gets, as often as it wants, and nothing is lost or sent twice."""
    post = Post(lambda number, request: Sent() if number >= 5 else Retry("busy"))
    exporter = make(post)
    for number in range(10):
        exporter.put(HERE, span(number))
    assert exporter.flush(GENEROUS)
    assert post.names == [str(number) for number in range(10)]
    assert exporter.status() == (10, 10, 0, 0, {}, True)
    exporter.close(GENEROUS)


def test_the_receiver_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the receiver says after which time it wants to be asked again, that is done, within reason."""
    waits: list[float] = []
    post = Post(lambda number, request: [Retry("busy", 7.0), Retry("busy", 1e9), Retry("busy", 0.0), Sent()][number])
    exporter = make(post)

    def wait() -> bool:
        waits.append(exporter._next_try - module.time.monotonic())
        exporter._next_try = 0.0
        return True

    monkeypatch.setattr(exporter, "_wait", wait)
    exporter.put(HERE, span("a"))
    assert exporter.flush(GENEROUS)
    assert waits == [pytest.approx(7.0, abs=1.0), pytest.approx(30.0, abs=1.0), pytest.approx(0.0, abs=1.0)]
    exporter.close(GENEROUS)


def test_delays_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay between two attempts doubles, up to a limit."""
    monkeypatch.undo()
    exporter = make(Post())
    delays = []
    for _ in range(12):
        exporter._note(Retry("busy"))
        delays.append(exporter._next_try - module.time.monotonic())
    assert delays[0] == pytest.approx(0.2, rel=0.25)
    assert delays[3] == pytest.approx(1.6, rel=0.25)
    assert all(delay < 6.1 for delay in delays)


def test_a_refusal_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What the receiver does not want is not tried again; the log says so once, and the count says how often."""
    post = Post(lambda number, request: Refused("HTTP 400 Bad Request"))
    exporter = make(post, batch_spans=1)
    for number in range(5):
        exporter.put(HERE, span(number))
    assert not exporter.flush(GENEROUS)
    assert len(post.requests) == 5
    assert exporter.status().dropped == {"refused": 5}
    assert [record.getMessage() for record in caplog.records if record.name == LOG] == [
        "1 spans for the receiver were refused (HTTP 400 Bad Request). Further ones are only counted."
    ]
    exporter.close(GENEROUS)
    assert caplog.records[-1].getMessage() == "Of 5 spans for the receiver these are lost: 5 were refused."


@pytest.mark.parametrize(("rejected", "lost"), [(2, 2), (0, 0), (99, 3), (-1, 0)])
def test_a_part_is_rejected(rejected: int, lost: int) -> None:
    """What the receiver says it left out is counted as lost, and no more than there was."""
    exporter = make(Post(lambda number, request: Sent(rejected, "too old")), interval=GENEROUS)
    for number in range(3):
        exporter.put(HERE, span(number))
    assert exporter.flush(GENEROUS) == (not lost)
    assert exporter.status().sent == 3 - lost
    assert exporter.status().dropped == ({"rejected": lost} if lost else {})
    exporter.close(GENEROUS)


def test_a_batch_that_is_too_large_is_divided() -> None:
    """Batches are halved until the receiver takes them; what is too large alone is lost, and nothing else."""
    post = Post(lambda number, request: TooLarge("413") if len(request) > 500 else Sent())
    exporter = make(post, interval=GENEROUS)
    for number in range(64):
        exporter.put(HERE, span(number, 900 if number == 20 else 0))
    assert not exporter.flush(GENEROUS)
    assert post.names == [str(number) for number in range(64) if number != 20]
    assert exporter.status() == (64, 63, 0, 0, {"too_large": 1}, True)
    before = len(post.requests)
    for number in range(16):
        exporter.put(HERE, span(number))
    exporter.close(GENEROUS)
    assert all(len(request) <= 500 for request in post.requests[before:])  # it has learnt


def test_a_sender_that_fails_ends_nothing() -> None:
    """What a library raises while it connects or sends is a refusal, and the next batch is sent."""
    post = Post(lambda number, request: 1 / 0 if number == 0 else Sent())
    connects = iter([OSError("no certificate"), post])

    def connect() -> Post:
        found = next(connects)
        if isinstance(found, OSError):
            raise found
        return found

    exporter = Exporter(connect, "the receiver", Limits(interval=0.001, batch_spans=1))
    for number in range(4):
        exporter.put(HERE, span(number))
    assert not exporter.flush(GENEROUS)
    assert post.names == ["2", "3"]
    assert exporter.status().dropped == {"refused": 2}
    exporter.close(GENEROUS)


def test_a_filter_of_the_log_that_fails_ends_nothing() -> None:
    """The log is the user's; what it raises harms nobody."""
    log = logging.getLogger(LOG)
    post = Post(lambda number, request: Refused("no") if number == 0 else Sent())
    exporter = make(post, batch_spans=1)

    def fail(record: logging.LogRecord) -> bool:
        raise ValueError(record)

    log.addFilter(fail)
    try:
        exporter.put(HERE, span("a"))
        exporter.flush(GENEROUS)
        exporter.put(HERE, span("b"))
        exporter.flush(GENEROUS)
        assert post.names == ["b"]
        exporter.close(GENEROUS)
    finally:
        log.removeFilter(fail)


# ---------------------------------------------------------------- receivers that are away


def test_while_it_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Spans are kept up to the limit, then counted; nobody waits; when the receiver is back, what was kept is sent."""
    back = Event()
    post = Post(lambda number, request: Sent() if back.is_set() else Retry("connection refused"))
    exporter = make(post, memory=20_000, max_block=GENEROUS, batch_spans=10)
    exporter.put(HERE, span(0))
    post.wait_for(lambda: len(post.requests) >= 2)
    assert not exporter.status().reachable
    for number in range(1, 1000):
        exporter.put(HERE, span(number))
        assert exporter.buffer.size <= 20_000
    assert balanced(exporter)
    assert exporter.brake() == 0
    kept = exporter.status().waiting
    assert exporter.status().dropped == {"full": 1000 - kept}
    back.set()
    assert not exporter.flush(GENEROUS)  # because some are lost
    assert post.names == [str(number) for number in range(kept)]
    assert exporter.status().reachable
    exporter.put(HERE, span("again"))
    exporter.close(GENEROUS)
    assert post.names[-1] == "again"
    said = [record.getMessage() for record in caplog.records if record.name == LOG]
    assert len(said) == 2
    assert said[0].startswith("the receiver does not take spans (connection refused). They are kept, up to 0 MiB")


def test_who_is_held_back_while_it_is_slow() -> None:
    """While the receiver answers slowly, a run that is faster stands back, and nothing is lost."""
    post = Post()
    exporter = make(post, memory=20_000, max_block=GENEROUS, batch_spans=10)
    post.free.clear()
    thread = Thread(target=lambda: [exporter.put(HERE, span(number)) for number in range(1000)], daemon=True)
    thread.start()
    post.wait_for(lambda: post.requests)
    while not exporter.buffer._held_until:
        assert exporter.buffer.size <= 20_000
    assert exporter.brake() > 0
    post.free.set()
    thread.join(GENEROUS)
    assert exporter.flush(GENEROUS)
    assert post.names == [str(number) for number in range(1000)]
    exporter.close(GENEROUS)


def test_a_flush_is_bounded(hold: Post) -> None:
    """A flush ends in time and says that not all was sent, however long the receiver takes."""
    exporter = make(hold)
    exporter.put(HERE, span("a"))
    assert not exporter.flush(0.01)
    assert exporter.status() == (1, 0, 1, 0, {}, True)
    hold.free.set()
    assert exporter.flush(GENEROUS)
    exporter.close(GENEROUS)


def test_an_end_is_bounded(hold: Post, caplog: pytest.LogCaptureFixture) -> None:
    """The end waits no longer than it may for a receiver that hangs, and says what is lost; late answers are none."""
    exporter = make(hold, batch_spans=1)
    for number in range(3):
        exporter.put(HERE, span(number))
    hold.wait_for(lambda: hold.requests)
    exporter.close(0.01)
    lost = (3, 0, 0, 0, {"exit": 3}, True)
    assert exporter.status() == lost
    said = "Of 3 spans for the receiver these are lost: 3 could not be sent in time."
    assert caplog.records[-1].getMessage() == said
    exporter.put(HERE, span("late"))
    hold.free.set()
    assert exporter._thread is not None
    exporter._thread.join(GENEROUS)
    assert exporter.status() == (4, 0, 0, 0, {"exit": 3, "closed": 1}, True)


def test_an_end_while_it_is_away() -> None:
    """When the receiver is known to be away, the end tries once more and does not use up its time."""
    post = Post(lambda number, request: Retry("connection refused"))
    exporter = make(post, batch_spans=1)
    for number in range(50):
        exporter.put(HERE, span(number))
    post.wait_for(lambda: len(post.requests) >= 3)
    exporter.close(GENEROUS)
    assert exporter._thread is not None
    assert not exporter._thread.is_alive()
    assert exporter.status() == (50, 0, 0, 0, {"exit": 50}, False)


def test_an_end_gives_a_receiver_that_is_back_what_it_missed() -> None:
    """However long the receiver was away, what waits is tried once more at the end."""
    back = Event()
    post = Post(lambda number, request: Sent() if back.is_set() else Retry("connection refused"))
    exporter = make(post, batch_spans=1)
    for number in range(5):
        exporter.put(HERE, span(number))
    post.wait_for(lambda: len(post.requests) >= 5)
    exporter._next_try += GENEROUS
    back.set()
    exporter.close(GENEROUS)
    assert exporter.status() == (5, 5, 0, 0, {}, True)


def test_an_end_waits_for_a_receiver_that_is_busy(hold: Post) -> None:
    """A receiver that is busy just then is asked again as long as there is time."""
    hold.answer = lambda number, request: Sent() if number >= 2 else Retry("busy")
    exporter = make(hold)
    exporter.put(HERE, span("a"))
    hold.wait_for(lambda: hold.requests)
    closing = Thread(target=exporter.close, args=(GENEROUS,), daemon=True)
    closing.start()
    assert exporter._stop.wait(GENEROUS)
    hold.free.set()
    closing.join(GENEROUS)
    assert exporter.status() == (1, 1, 0, 0, {}, True)


def test_requests_at_the_end_are_short(hold: Post) -> None:
    """A request that begins during the end gets no more time than is left."""
    exporter = make(hold, batch_spans=1)
    for number in range(2):
        exporter.put(HERE, span(number))
    hold.wait_for(lambda: hold.requests)
    closing = Thread(target=exporter.close, args=(5.0,), daemon=True)
    closing.start()
    assert exporter._stop.wait(GENEROUS)
    hold.free.set()
    closing.join(GENEROUS)
    assert hold.timeouts[0] == 10.0
    assert hold.timeouts[1] <= 5.0


def test_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, as at the end of the interpreter, nobody waits and nothing is raised."""

    def start(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    post = Post()
    exporter = make(post, memory=1000, max_block=GENEROUS)
    monkeypatch.setattr(module.Thread, "start", start)
    for number in range(20):
        exporter.put(HERE, span(number))
    assert balanced(exporter)
    monkeypatch.undo()
    exporter.put(HERE, span("more"))
    exporter.close(GENEROUS)
    status = exporter.status()
    assert status.sent + status.dropped["full"] == 21


# ---------------------------------------------------------------- with files


def files(folder: Path) -> int:
    """Count the requests in a folder, but for the one that a thread has in its hands."""
    return len([*folder.glob("*.otlp")])


def test_files_keep_what_cannot_be_sent(tmp_path: Path) -> None:
    """While the receiver is away all goes into files, and out of them in order when it is back: nothing is lost."""
    back = Event()
    post = Post(lambda number, request: Sent() if back.is_set() else Retry("connection refused"))
    exporter = make(post, Spool(tmp_path), memory=20_000, batch_spans=10)
    for number in range(1000):
        exporter.put(HERE, span(number))
        if number % 10 == 9:
            exporter.flush(GENEROUS)
            assert balanced(exporter)
    assert not exporter.flush(GENEROUS)
    assert exporter.status() == (1000, 0, 0, 1000, {}, False)
    assert files(tmp_path) >= 99  # 100 or, if a thread looked into the middle of a batch, more; one may be in its hands
    back.set()
    post.wait_for(lambda: len(post.names) == 1000)
    assert post.names == [str(number) for number in range(1000)]
    exporter.close(GENEROUS)
    assert exporter.status() == (1000, 1000, 0, 0, {}, True)
    assert [*tmp_path.iterdir()] == []


def test_an_end_leaves_files(tmp_path: Path) -> None:
    """What cannot be sent at the end lies in files, and the next process sends it, before its own time or after."""
    away = Post(lambda number, request: Retry("connection refused"))
    exporter = make(away, Spool(tmp_path), batch_spans=10)
    for number in range(100):
        exporter.put(HERE, span(number))
    exporter.close(GENEROUS)
    assert exporter.status() == (100, 0, 0, 100, {}, False)
    post = Post()
    following = make(post, Spool(tmp_path))
    following.put(HERE, span("new"))
    post.wait_for(lambda: len(post.names) == 101)
    following.close(GENEROUS)
    assert post.names == ["new", *(str(number) for number in range(100))]
    assert following.status() == (101, 101, 0, 0, {}, True)


def test_an_end_with_a_receiver_that_hangs_leaves_files(tmp_path: Path, hold: Post) -> None:
    """What hangs in a request at the end, and all that waits behind it, lies in files then."""
    exporter = make(hold, Spool(tmp_path), batch_spans=1)
    for number in range(5):
        exporter.put(HERE, span(number))
    hold.wait_for(lambda: hold.requests)
    exporter.close(0.01)
    assert exporter.status()[:5] == (5, 0, 0, 5, {})
    hold.answer = lambda number, request: Retry("too late")
    hold.free.set()
    assert exporter._thread is not None
    exporter._thread.join(GENEROUS)
    assert exporter.status()[:5] == (5, 0, 0, 5, {})
    assert files(tmp_path) == 5


def test_files_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What finds no room in the folder is lost and counted, and said once."""
    exporter = make(Post(lambda number, request: Retry("away")), Spool(tmp_path, 500), batch_spans=1)
    for number in range(50):
        exporter.put(HERE, span(number, 100))
    exporter.flush(GENEROUS)
    status = exporter.status()
    assert 0 < status.spooled < 5
    assert status.dropped == {"spool_full": 50 - status.spooled}
    assert sum("found no room in the spool" in record.getMessage() for record in caplog.records) == 1
    exporter.close(GENEROUS)


def test_old_files_do_not_hold_up_new_spans(tmp_path: Path) -> None:
    """New spans are sent between the files of an outage, so that they find room in memory."""
    spool = Spool(tmp_path)
    for number in range(20):
        spool.write(module.encode_request({HERE: [span(f"old {number}")]}), 1)
    post = Post()
    exporter = make(post, Spool(tmp_path), batch_spans=1)
    post.free.clear()
    exporter.put(HERE, span("new 0"))
    post.wait_for(lambda: post.requests)
    for number in range(1, 5):
        exporter.put(HERE, span(f"new {number}"))
    post.free.set()
    post.wait_for(lambda: len(post.names) == 25)
    assert post.names[:8:2] == ["new 0", "new 1", "new 2", "new 3"]
    assert [name for name in post.names if "old" in name] == [f"old {number}" for number in range(20)]
    exporter.close(GENEROUS)


@pytest.mark.parametrize("answer", [Refused("400"), Sent(2, "old"), TooLarge("413")])
def test_files_that_are_not_taken(tmp_path: Path, answer: Answer) -> None:
    """What the receiver refuses of a file is lost and counted as if it had come from memory."""
    away = Event()
    post = Post(lambda number, request: answer if away.is_set() else Retry("away"))
    exporter = make(post, Spool(tmp_path), interval=0.01)
    for number in range(4):
        exporter.put(HERE, span(number))
    while exporter.status().spooled < 4:
        exporter.flush(GENEROUS)
    away.set()
    exporter.put(HERE, span("more"))
    while (status := exporter.status()).waiting or status.spooled:  # one look: a file on its way changes sides
        assert balanced(exporter)
    status = exporter.status()
    reason = {Refused: "refused", Sent: "rejected", TooLarge: "too_large"}[type(answer)]
    assert {*status.dropped} == {reason}
    assert balanced(exporter)
    exporter.close(GENEROUS)
    assert files(tmp_path) == 0


def test_files_that_are_too_large_are_divided(tmp_path: Path) -> None:
    """A request that was never tried before it went into a file is divided like any other."""
    spool = Spool(tmp_path)
    spool.write(module.encode_request({HERE: [span(number) for number in range(64)]}), 64)
    spool._mark = "x"  # of another process
    post = Post(lambda number, request: TooLarge("413") if len(request) > 300 else Sent())
    exporter = make(post, spool)
    exporter.put(HERE, span("new"))
    post.wait_for(lambda: len(post.names) == 65)
    exporter.close(GENEROUS)
    assert post.names == ["new", *(str(number) for number in range(64))]
    assert exporter.status() == (65, 65, 0, 0, {}, True)


def test_a_damaged_file_is_lost_and_nothing_else(tmp_path: Path) -> None:
    """A file that is no request, and too large for the receiver, is counted as lost; what comes after is sent."""
    spool = Spool(tmp_path)
    spool.write(b"\xff" * 50, 3)
    spool._mark = "x"  # of another process
    post = Post(lambda number, request: TooLarge("413") if request.startswith(b"\xff") else Sent())
    exporter = make(post, spool)
    exporter.put(HERE, span("before"))
    while files(tmp_path):
        assert balanced(exporter)
    exporter.put(HERE, span("after"))
    assert not exporter.flush(GENEROUS)
    exporter.close(GENEROUS)
    assert post.names == ["before", "after"]
    assert exporter.status() == (5, 2, 0, 0, {"too_large": 3}, True)


def test_a_fault_of_its_own_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the thread stumbles over is counted as lost, and it goes on with what comes then."""
    post = Post()
    exporter = make(post, batch_spans=1)
    faults = iter([ValueError("what nobody has thought of")])
    encode = module.encode_request

    def stumble(groups: object) -> bytes:
        for fault in faults:
            raise fault
        return encode(groups)

    monkeypatch.setattr(module, "encode_request", stumble)
    exporter.put(HERE, span("first"))
    exporter.put(HERE, span("second"))
    post.wait_for(lambda: post.names == ["second"])
    exporter.close(GENEROUS)
    assert exporter.status() == (2, 1, 0, 0, {"refused": 1}, True)


def test_an_idle_exporter_with_files_and_no_receiver_rests(tmp_path: Path) -> None:
    """While there is nothing to send, the thread looks rarely whether there is."""
    exporter = make(Post(), Spool(tmp_path))
    exporter._files = False
    exporter._failures, exporter._next_try = 3, 0.0
    assert exporter._patience() == 60.0
    exporter._files = True
    assert exporter._patience() == 0.0


# ---------------------------------------------------------------- the account


def put_many(exporter: Exporter, spans: int) -> None:
    """Bring spans, one after another."""
    for _ in range(spans):
        exporter.put(HERE, span("x"))


def test_the_account_is_always_right(tmp_path: Path) -> None:
    """Whatever the receiver does, at any moment what was accepted is sent, waits, lies in files, or is lost."""
    answers = [Sent(), Retry("busy"), Sent(1, "old"), Refused("no"), TooLarge("413"), Sent()]
    post = Post(lambda number, request: answers[number * 7 // 3 % len(answers)])
    for spool in (None, Spool(tmp_path, 5000)):
        exporter = make(post, spool, memory=20_000, batch_spans=10, max_block=0.0)
        threads = [Thread(target=put_many, args=(exporter, 2000), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert balanced(exporter)
        exporter.flush(0.05)
        assert balanced(exporter)
        before = Counter(post.names)["x"]
        exporter.close(1.0)
        status = exporter.status()
        assert before >= 0
        assert balanced(exporter)
        assert (status.accepted, status.waiting) == (8000, 0)


def test_the_port_of_nobody() -> None:
    """A receiver that is not there is one that is away."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = HttpSender(Target(f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces")).send(b"", 5.0)
    assert isinstance(answer, Retry)
    assert "refused" in answer.reason
