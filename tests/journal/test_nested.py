"""What a step had begun is not begun again: runs that the steps of a run begin go on, or count, when it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel

from otflow import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.handler import WorkflowHandler
from otflow.journal import Journal, JournalSource, answer
from otflow.journal.children import Child as Kept
from otflow.journal.children import find_children, read_beginning
from otflow.records.kinship import Attempted, name_child
from otflow.records.record import RunCompleted, RunStarted, StepStarted, StreamWritten
from otflow.replay import following, nursery
from otflow.replay.following import Following
from otflow.replay.rebuild import MisfitError
from tests.journal.writing import wire


class Price(BaseModel):
    """What JSON alone would make a dict of."""

    amount: int
    day: date


class Paid(Event):
    """The middle of a child."""

    name: str


class Note(Event):
    """Something for the stream."""

    text: str


class Ask(InputRequiredEvent):
    """A question."""


class Opaque:
    """What JSON cannot hold."""


class Declined(Exception):
    """A plain exception of a user."""


class Odd(Exception):
    """One that is made of more than a text."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Child(Workflow):
    """Two steps, with effects that are counted, and a gate that may be closed."""

    calls: ClassVar[Counter[str]] = Counter()
    gate: ClassVar[asyncio.Event | None] = None
    at_gate: ClassVar[str] = ""
    broken: ClassVar[bool] = False

    @step
    async def pay(self, ctx: Context, ev: StartEvent) -> Paid:
        """Have an effect."""
        Child.calls[f"pay {ev.name}"] += 1
        await ctx.store.set("paid", (ev.name,))
        ctx.write_event_to_stream(Note(text=f"paid {ev.name}"))
        return Paid(name=ev.name)

    @step
    async def after(self, ctx: Context, ev: Paid) -> StopEvent:
        """Have another one, and end in the way that the name says."""
        Child.calls[f"after {ev.name}"] += 1
        if Child.at_gate == ev.name and Child.gate is not None:
            ctx.write_event_to_stream(Note(text="at the gate"))
            await Child.gate.wait()
            if Child.broken:
                raise Declined("no money")
        match ev.name.partition("-")[0]:
            case "fail":
                raise Declined("no money")
            case "key":
                raise KeyError("k")
            case "odd":
                raise Odd(7)
            case "late":
                await asyncio.Event().wait()
            case "opaque":
                return StopEvent(result=Opaque())
            case "ask":
                answer = await ctx.wait_for_event(HumanResponseEvent, Ask(), timeout=None)
                return StopEvent(result=answer.response)
        return StopEvent(result=Price(amount=len(ev.name), day=date(2026, 1, 2)))


class Parent(Workflow):
    """A step that begins runs and then stands still, until it is let go."""

    hold: ClassVar[asyncio.Event | None] = None

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Do as the test says."""
        return StopEvent(result=await self.body(ctx))

    async def body(self, ctx: Context) -> object:
        """Begin two runs, one after the other."""
        one = await self.child().run(name="one")
        two = await self.child().run(name="two")
        await self.stand()
        return [one, two]

    def child(self, **options: object) -> Child:
        """Make a child that writes where this one does."""
        return Child(dispatcher=self._dispatcher, **options)  # type: ignore[arg-type]  # the tests name them

    async def stand(self) -> None:
        """Stand still in the first life."""
        if Parent.hold is not None:
            await Parent.hold.wait()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    Child.calls.clear()
    Child.gate, Child.at_gate, Child.broken, Parent.hold = None, "", False, None


async def until(path: Path, *outcomes: str) -> None:
    """Wait until the runs of a journal, but for the parent, have come to these outcomes."""
    async with asyncio.timeout(30):
        source = JournalSource(path)
        while sorted(i.outcome for i in source.runs() if i.id != "p") != sorted(outcomes):
            await asyncio.sleep(0)


def list_notes(path: Path) -> list[str]:
    """List what stands in the streams."""
    source = JournalSource(path)
    records = [record for info in list(source.runs()) for record in source.run(info.id).records]
    return [record.body.json.decode() for record in records if isinstance(record, StreamWritten)]


def die(path: Path, parent: type[Parent], *outcomes: str, hold: bool = True, **options: object) -> None:
    """Run a parent until its children have come to these outcomes, and let the process be gone without a word.

    A journal that is cut off writes no more, which is what a killed process does.
    """
    dispatcher, journal, _ = wire(path)

    async def main() -> None:
        Child.gate = asyncio.Event()
        Parent.hold = asyncio.Event() if hold else None
        handler = parent(dispatcher=dispatcher, timeout=None, **options).run(run_id="p")
        await until(path, *outcomes)
        while Child.at_gate and not any("at the gate" in text for text in list_notes(path)):
            await asyncio.sleep(0)
        dispatcher.journals = ()
        handler.cancel()
        await asyncio.sleep(0)

    asyncio.run(main())
    for id in [info.id for info in JournalSource(path).runs()]:
        journal.abandon(id)
    journal.close()
    Child.gate = Parent.hold = None


def go_on(path: Path, parent: type[Parent], *, attached: bool = True, **options: object) -> object:
    """Resume the parent as another process would."""
    dispatcher = Dispatcher()
    if attached:
        dispatcher.attach(Journal(path), journal=True)

    async def main() -> object:
        return await parent(dispatcher=dispatcher, timeout=None, **options).resume("p", path)

    return asyncio.run(main())


def outcomes(path: Path) -> dict[str, list[str]]:
    """Return the outcomes of the runs by workflow."""
    found: dict[str, list[str]] = {}
    for info in JournalSource(path).runs():
        found.setdefault(info.workflow, []).append(info.outcome)
        assert JournalSource(path).run(info.id).complete
    return found


PRICE = Price(amount=3, day=date(2026, 1, 2))


@pytest.mark.parametrize("attached", [True, False])
def test_a_child_that_completed_gives_its_result(tmp_path: Path, *, attached: bool) -> None:
    """Nothing of it runs again, and its result has the classes that it had."""
    die(tmp_path / "a.db", Parent, "completed", "completed")
    assert go_on(tmp_path / "a.db", Parent, attached=attached) == [PRICE, PRICE]
    assert set(Child.calls.values()) == {1}
    assert outcomes(tmp_path / "a.db") == {"Parent": ["completed"], "Child": ["completed"] * 2}


@pytest.mark.parametrize("attached", [True, False])
def test_a_child_in_flight_goes_on_where_it_stood(tmp_path: Path, *, attached: bool) -> None:
    """Only its attempt in flight runs again; its journal gets the rest of it, whichever way the parent was resumed."""
    Child.at_gate = "two"
    die(tmp_path / "a.db", Parent, "completed", "open")
    assert go_on(tmp_path / "a.db", Parent, attached=attached) == [PRICE, PRICE]
    assert Child.calls == {"pay one": 1, "after one": 1, "pay two": 1, "after two": 2}
    assert outcomes(tmp_path / "a.db") == {"Parent": ["completed"], "Child": ["completed"] * 2}


@pytest.mark.parametrize("attached", [True, False])
def test_a_child_that_had_not_begun_begins(tmp_path: Path, *, attached: bool) -> None:
    """It is written into the journal of its parent, and is found when the parent dies again."""
    Child.at_gate = "one"
    die(tmp_path / "a.db", Parent, "open")
    assert go_on(tmp_path / "a.db", Parent, attached=attached) == [PRICE, PRICE]
    assert outcomes(tmp_path / "a.db") == {"Parent": ["completed"], "Child": ["completed"] * 2}
    with Journal(tmp_path / "a.db").look() as connection:
        kept = find_children(connection, "p")
        since = min(r.at for r in JournalSource(tmp_path / "a.db").run("p").records if isinstance(r, StepStarted))
        attempted = Attempted("p", 3, 1, since)
        assert kept == [Kept(name_child(attempted, 0), "Child"), Kept(name_child(attempted, 1), "Child")]
        assert read_beginning(connection, "nobody") is None


class Gathering(Parent):
    """Begins three runs at once, in another order in each life."""

    order: ClassVar[tuple[str, ...]] = ("a", "bb", "ccc")

    async def body(self, ctx: Context) -> object:
        """Begin them."""
        prices = await asyncio.gather(*(self.child().run(name=name) for name in self.order))
        await self.stand()
        return [price.amount for price in prices]


def test_children_are_recognised_by_what_they_began_with(tmp_path: Path) -> None:
    """In whatever order they begin, each gives the result that it had, and one that is new runs."""
    Child.at_gate = "bb"
    die(tmp_path / "a.db", Gathering, "completed", "completed", "open")
    Gathering.order = ("ccc", "dddd", "a", "bb", "a")
    try:
        assert go_on(tmp_path / "a.db", Gathering) == [3, 4, 1, 2, 1]
    finally:
        Gathering.order = ("a", "bb", "ccc")
    assert Child.calls["pay a"] == 2  # a second one of these is another one
    assert {name: count for name, count in Child.calls.items() if " a" not in name} == {
        "pay bb": 1,
        "after bb": 2,
        "pay ccc": 1,
        "after ccc": 1,
        "pay dddd": 1,
        "after dddd": 1,
    }


class Middle(Workflow):
    """Begins a run of its own."""

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Begin it."""
        return StopEvent(result=await Child(dispatcher=self._dispatcher).run(name="deep"))


class Grand(Parent):
    """Begins a run that begins one."""

    async def body(self, ctx: Context) -> object:
        """Begin it."""
        return await Middle(dispatcher=self._dispatcher).run()


@pytest.mark.parametrize("attached", [True, False])
def test_grandchildren_go_on_too(tmp_path: Path, *, attached: bool) -> None:
    """A run goes on with all that stands below it, whichever way the topmost one was resumed."""
    Child.at_gate = "deep"
    die(tmp_path / "a.db", Grand, "open", "open")
    assert go_on(tmp_path / "a.db", Grand, attached=attached) == Price(amount=4, day=date(2026, 1, 2))
    assert Child.calls == {"pay deep": 1, "after deep": 2}
    assert outcomes(tmp_path / "a.db") == {c: ["completed"] for c in ("Grand", "Middle", "Child")}


class Careful(Parent):
    """Catches what its children raise."""

    async def body(self, ctx: Context) -> object:
        """Begin some that end badly."""
        found: list[object] = []
        for name in ("fail", "key", "odd", "late"):
            handler = self.child(timeout=0.05 if name == "late" else None).run(name=name)
            try:
                await handler
            except (Declined, KeyError, WorkflowTimeoutError, WorkflowRuntimeError) as error:
                end = handler.get_stop_event()
                found.append((type(error).__name__, isinstance(error, WorkflowRuntimeError), type(end).__name__))
        await self.stand()
        return found


def test_a_child_that_failed_has_failed(tmp_path: Path) -> None:
    """The step that runs again takes the same way: the failure, or the timeout, of a child is raised as it was."""
    die(tmp_path / "a.db", Careful, "failed", "failed", "failed", "timed out")
    assert go_on(tmp_path / "a.db", Careful) == [
        ("Declined", True, "WorkflowFailedEvent"),
        ("KeyError", True, "WorkflowFailedEvent"),
        ("WorkflowRuntimeError", True, "WorkflowFailedEvent"),  # its class takes more than a text
        ("WorkflowTimeoutError", False, "WorkflowTimedOutEvent"),
    ]
    assert set(Child.calls.values()) == {1}


class Retrying(Workflow):
    """Its attempts begin runs each for itself."""

    hold: ClassVar[asyncio.Event | None] = None

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=0))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Fail behind the first child, stand still behind the second."""
        await Child(dispatcher=self._dispatcher).run(name="good")
        if Parent.hold is not None and ctx.attempt == 2:
            await Parent.hold.wait()
        if ctx.attempt < 3:
            raise ValueError("again")
        return StopEvent(result=ctx.attempt)


def test_another_attempt_begins_other_runs(tmp_path: Path) -> None:
    """What an attempt that failed had begun is nothing to the next one, even if it begins with the same."""
    die(tmp_path / "a.db", Retrying, "completed", "completed")  # type: ignore[arg-type]  # it is run in the same way
    assert go_on(tmp_path / "a.db", Retrying) == 3  # type: ignore[arg-type]
    assert Child.calls == {"pay good": 3, "after good": 3}


class Reading(Parent):
    """Reads the stream of its child, and answers what it asks."""

    async def body(self, ctx: Context) -> object:
        """Read and answer."""
        own: Context = Context(child := self.child())
        handler = child.run(ctx=own, name="ask")
        read: list[str] = []
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                read.append("asked")
                handler.ctx.send_event(HumanResponseEvent(response="fine"))
            elif isinstance(event, Note):
                read.append(event.text)
        assert handler.ctx is own
        result = await handler, await own.store.get("paid"), read
        await self.stand()
        return result


def test_the_stream_of_a_child_is_read_again(tmp_path: Path) -> None:
    """The step that runs again sees what it saw, without questions that it has answered; and so is the state."""
    die(tmp_path / "a.db", Reading, "completed")
    assert go_on(tmp_path / "a.db", Reading) == ("fine", ("ask",), ["paid ask"])
    assert set(Child.calls.values()) == {1}


def test_the_stream_of_a_child_in_flight_is_read_again(tmp_path: Path) -> None:
    """What its attempts in flight write again, and only that, they write again; questions that are open are asked."""
    Child.at_gate = "ask"
    die(tmp_path / "a.db", Reading, "open")
    Child.at_gate = ""
    assert go_on(tmp_path / "a.db", Reading) == ("fine", ("ask",), ["paid ask", "asked"])


def test_a_result_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """A wrong result is worse than none."""

    class Strange(Parent):
        async def body(self, ctx: Context) -> object:
            result = await self.child().run(name="opaque")
            await self.stand()
            return isinstance(result, Opaque)

    die(tmp_path / "a.db", Strange, "completed")
    with pytest.raises(MisfitError, match="because it is not whole in the journal"):
        go_on(tmp_path / "a.db", Strange)


class Waiting(Parent):
    """Begins a run that asks, and leaves the answer to others."""

    async def body(self, ctx: Context) -> object:
        """Begin it."""
        return await self.child(timeout=None).run(name="ask")


def test_a_child_that_waits_is_answered_later(tmp_path: Path) -> None:
    """An answer that is left for a nested run reaches it when the run above goes on."""
    path = tmp_path / "a.db"
    die(path, Waiting, "paused")
    [kept] = [info.id for info in JournalSource(path).runs() if info.id != "p"]
    answer(kept, HumanResponseEvent(response="by post"), journal=path)
    assert go_on(path, Waiting, attached=False) == "by post"
    assert Child.calls == {"pay ask": 1, "after ask": 2}


def test_saved_data_may_be_gone_on_with_twice(tmp_path: Path) -> None:
    """Who goes on from saved data in place of the journal begins other runs, each time."""
    path = tmp_path / "a.db"
    dispatcher, *_ = wire(path)

    async def main() -> list[object]:
        Parent.hold = asyncio.Event()
        handler = Parent(dispatcher=dispatcher).run(run_id="p")
        await until(path, "completed", "completed")
        data = handler.ctx.to_dict()
        await handler.cancel_run()
        Parent.hold = None
        found = []
        for _ in range(2):
            parent = Parent(dispatcher=dispatcher)
            found.append(await parent.run(ctx=Context.from_dict(parent, data)))
        return found

    assert asyncio.run(main()) == [[PRICE, PRICE]] * 2
    assert Child.calls["pay one"] == 3


def test_what_an_open_run_asks_for_is_kept(tmp_path: Path) -> None:
    """The outcome of a run is not deleted for its age while the one above has not ended."""
    journal = Journal(tmp_path / "a.db", max_age=10)
    for id, above in (("open", ""), ("done", ""), ("of-open", "open"), ("of-done", "done")):
        journal([RunStarted(1, id, 1, "W", "g", parent_run=above)])
    for id in ("of-open", "of-done", "done"):
        journal([RunCompleted(2, id, 2, 1)])
    assert journal.prune() == 2
    assert [info.id for info in JournalSource(journal.path).runs()] == ["open", "of-open"]


class Named(Parent):
    """Gives its child a name."""

    async def body(self, ctx: Context) -> object:
        """Begin it, with something that differs each time."""
        price = await self.child().run(run_id="order-7", name="one", salt=id(ctx))
        await self.stand()
        return price


def test_a_child_with_a_name_is_found_by_it(tmp_path: Path) -> None:
    """Whoever names a run says which one it is, whatever it begins with."""
    die(tmp_path / "a.db", Named, "completed")
    assert go_on(tmp_path / "a.db", Named) == PRICE
    assert set(Child.calls.values()) == {1}


def die_in_child(path: Path, parent: type[Parent]) -> str:
    """Let a parent die while its child stands at the gate; return the id of the child."""
    Child.at_gate = "one"
    die(path, parent, "open")
    Waited.handlers.clear()
    [kept] = [info.id for info in JournalSource(path).runs() if info.id != "p"]
    return kept


def make_dispatcher(path: Path, *, attached: bool) -> Dispatcher:
    """Make one, with the journal or without."""
    dispatcher = Dispatcher()
    if attached:
        dispatcher.attach(Journal(path), journal=True)
    return dispatcher


async def until_followed() -> Following:
    """Wait until the step has got its handler, and the first look has been in vain."""
    async with asyncio.timeout(30):
        while not Waited.handlers:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    [handler] = Waited.handlers
    assert isinstance(handler, Following)
    assert handler.found is None
    assert handler.get_stop_event() is None
    return handler


class Waited(Parent):
    """Begins a run, and shows the handler of it."""

    handlers: ClassVar[list[WorkflowHandler]] = []

    async def body(self, ctx: Context) -> object:
        """Begin it, and read its stream."""
        handler = self.child(timeout=None).run(name="one")
        Waited.handlers.append(handler)
        read = [event.text async for event in handler.stream_events() if isinstance(event, Note)]
        return await handler, read, type(handler.get_stop_event()).__name__


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    Waited.handlers.clear()
    monkeypatch.setattr(following, "SHORTEST", 0.001)
    monkeypatch.setattr(following, "LONGEST", 0.002)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("end", ["completes", "fails", "is cancelled"])
def test_a_child_that_another_handler_runs_is_followed(tmp_path: Path, end: str, *, attached: bool) -> None:
    """The step gets what came of it there; if nothing came of it, it goes on below the step."""
    kept = die_in_child(path := tmp_path / "a.db", Waited)
    dispatcher = make_dispatcher(path, attached=attached)

    async def main() -> object:
        Child.gate = asyncio.Event()
        other = Child(dispatcher=dispatcher, timeout=None).resume(kept, path)
        parent = Waited(dispatcher=dispatcher, timeout=None).resume("p", path)
        await until_followed()
        if end == "is cancelled":
            await other.cancel_run()
        Child.gate.set()
        await asyncio.wait([other])
        other.cancelled() or other.exception()  # it has been told
        return await parent

    if end == "fails":
        Child.broken = True
        with pytest.raises(Declined):
            asyncio.run(main())
        assert outcomes(path) == {"Waited": ["failed"], "Child": ["failed"]}
        return
    result, read, last = asyncio.run(main())  # type: ignore[misc]  # it is a tuple
    assert (result, last) == (PRICE, "StopEvent")
    assert read[:2] == ["paid one", "at the gate"]
    assert Child.calls == {"pay one": 1, "after one": 3 if end == "is cancelled" else 2}
    assert outcomes(path) == {"Waited": ["completed"], "Child": ["completed"]}
    assert len(dispatcher.journals) == attached


RUN_IT = """
import asyncio, sys
from otflow.dispatcher import Dispatcher
from tests.journal.test_nested import Child
d = Dispatcher()
d.attach(j, journal=True)
async def main():
    Child.at_gate, Child.gate = "one", asyncio.Event()
    handler = Child(dispatcher=d, timeout=None).resume(ID)
    async for event in handler.stream_events():
        print("running", flush=True)
        break
    said = await asyncio.to_thread(sys.stdin.readline)
    if said:
        Child.gate.set()
        await handler
        print("done", flush=True)
    else:
        import os
        os._exit(9)
asyncio.run(main())
"""


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("dies", [True, False])
def test_a_child_that_another_process_runs_is_followed(tmp_path: Path, *, attached: bool, dies: bool) -> None:
    """The step gets what came of it there; if that process dies, the run goes on below the step."""
    kept = die_in_child(path := tmp_path / "a.db", Waited)
    Journal(path).release(kept)  # this process lives, which would keep the other one out
    head = f"from otflow.journal import Journal\nID, j = {kept!r}, Journal({str(path)!r})\n"
    with subprocess.Popen(
        [sys.executable, "-c", head + RUN_IT],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"

        async def main() -> object:
            Child.at_gate = ""
            dispatcher = make_dispatcher(path, attached=attached)
            parent = Waited(dispatcher=dispatcher, timeout=None).resume("p", path)
            await until_followed()
            if not dies:
                process.stdin.write("go on\n")  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
            return (await parent)[0]

        assert asyncio.run(main()) == PRICE
    assert Child.calls == {"pay one": 1, "after one": 2 if dies else 1}
    assert outcomes(path) == {"Waited": ["completed"], "Child": ["completed"]}


async def follow(path: Path, parent: type[Waited], kept: str) -> tuple[WorkflowHandler, WorkflowHandler, Following]:
    """Resume the child, and then the parent, which follows it; give the handlers of both, and the following."""
    dispatcher = make_dispatcher(path, attached=True)
    Child.gate = asyncio.Event()
    other = Child(dispatcher=dispatcher, timeout=None).resume(kept)
    above = parent(dispatcher=dispatcher, timeout=None).resume("p")
    return other, above, await until_followed()


class Fickle(Waited):
    """Asks for its child twice."""

    async def body(self, ctx: Context) -> object:
        """Ask, and ask again when that was ended."""
        try:
            return await super().body(ctx)
        except (asyncio.CancelledError, WorkflowCancelledByUser):
            return await super().body(ctx)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("how", ["cancel", "cancel_run"])
def test_who_follows_a_run_cannot_end_it(tmp_path: Path, how: str) -> None:
    """Cancelling ends the following only; the step may ask for the run again."""
    kept = die_in_child(path := tmp_path / "a.db", Fickle)

    async def main() -> object:
        other, parent, first = await follow(path, Fickle, kept)
        Waited.handlers.clear()
        if how == "cancel":
            assert first.cancel()
        else:
            await first.cancel_run()
        assert await first.run_step() is None
        await until_followed()
        assert Child.gate is not None
        Child.gate.set()
        return await other, (await parent)[0]

    assert asyncio.run(main()) == (PRICE, PRICE)
    assert outcomes(path) == {"Fickle": ["completed"], "Child": ["completed"]}


@pytest.mark.usefixtures("_quick")
def test_a_run_that_was_followed_is_ended_once_it_goes_on_here(tmp_path: Path) -> None:
    """From then on it is a run as others are."""
    kept = die_in_child(path := tmp_path / "a.db", Waited)

    async def main() -> None:
        other, parent, handler = await follow(path, Waited, kept)
        await other.cancel_run()
        async with asyncio.timeout(30):
            while handler.found is None:
                await asyncio.sleep(0)
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler
        with pytest.raises(WorkflowCancelledByUser):
            await parent

    asyncio.run(main())
    assert outcomes(path)["Child"] == ["cancelled"]


def test_how_runs_began_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and whatever begins now."""
    die(path := tmp_path / "a.db", Gathering, "completed", "completed", "completed")
    reads: Counter[str] = Counter()

    def read(connection: sqlite3.Connection, run: str) -> object:
        reads[run] += 1
        return read_beginning(connection, run)

    monkeypatch.setattr(nursery, "read_beginning", read)
    monkeypatch.setattr(Gathering, "order", ("ccc", "x", "bb", "y", "a", "z"))
    assert go_on(path, Gathering) == [3, 1, 2, 1, 1, 1]
    assert len(reads) == 3
    assert set(reads.values()) == {1}


def test_a_run_stays_in_its_journal(tmp_path: Path) -> None:
    """A run that is resumed from a journal, and all below it, is written there and nowhere else; others go on."""
    a, b = tmp_path / "a.db", tmp_path / "b.db"
    Child.at_gate = "one"
    die(a, Parent, "open")
    Child.at_gate = ""
    dispatcher, _, seen = wire(b)

    async def main() -> object:
        result = await Parent(dispatcher=dispatcher, timeout=None).resume("p", a)
        await Child(dispatcher=dispatcher).run(name="other")
        return result

    assert asyncio.run(main()) == [PRICE, PRICE]
    assert outcomes(a) == {"Parent": ["completed"], "Child": ["completed"] * 2}
    assert outcomes(b) == {"Child": ["completed"]}
    assert len({record.run for record in seen}) == 4
    assert len(dispatcher.journals) == 1


def test_what_outlives_its_parent_stays_in_its_journal(tmp_path: Path) -> None:
    """A journal that was opened for a run is closed when the last run below it has ended."""
    path = tmp_path / "a.db"

    class Careless(Parent):
        handler: ClassVar[asyncio.Future[object]]

        async def body(self, ctx: Context) -> object:
            Careless.handler = self.child(timeout=None).run(name="one")
            await self.stand()
            return "gone"

    Child.at_gate = "one"
    die(path, Careless, "open")
    dispatcher = Dispatcher()

    async def main() -> object:
        Child.gate = asyncio.Event()
        assert await Careless(dispatcher=dispatcher).resume("p", path) == "gone"
        assert len(dispatcher.journals) == 1
        Child.gate.set()
        return await Careless.handler

    assert asyncio.run(main()) == PRICE
    assert dispatcher.journals == ()
    assert outcomes(path) == {"Careless": ["completed"], "Child": ["completed"]}
