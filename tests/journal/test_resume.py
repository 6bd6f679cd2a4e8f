"""A run goes on where its journal ends: elsewhere, later, with what it had, or not at all and with a reason."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel

from otflow import (
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    configure,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalError, JournalSource, RunNotFoundError, RunOwnedError, answer
from otflow.records.record import EventReceived, RunCancelled, RunResumed, StepStarted, WaitStarted
from otflow.replay import fork, make_context
from otflow.replay.rebuild import MisfitError
from tests.journal.writing import Ask, Fan, Human, run, until_asked, wire


def leave(workflow: Workflow, **fields: object) -> str:
    """Run a workflow until it asks, and end the event loop then."""
    return asyncio.run(until_asked(workflow, **fields))


def test_a_run_is_answered_days_later(tmp_path: Path) -> None:
    """The question is shown again, the answer ends the run, and its records go on where they ended."""
    path = tmp_path / "a.db"
    dispatcher, *_ = wire(path)
    id = leave(Human(dispatcher=dispatcher))
    before = JournalSource(path).run(id).records
    assert isinstance(before[-1], RunCancelled)

    async def go_on() -> object:
        handler = Human(dispatcher=Dispatcher()).resume(id[:8], path)
        assert handler.run_id == id
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                handler.ctx.send_event(HumanResponseEvent(response="fine"))
        return await handler

    assert asyncio.run(go_on()) == "fine"
    execution = JournalSource(path).run(id)
    assert execution.records[: len(before)] == before
    assert execution.complete
    assert execution.outcome == "completed"
    [first, again] = [r for r in execution.records if isinstance(r, StepStarted)]
    assert (first.invocation, first.attempt) == (again.invocation, again.attempt)
    assert execution.state() == {"seen": 2}  # the step ran again from its top


def test_an_answer_waits_for_its_run(tmp_path: Path) -> None:
    """An event that is stored while nobody runs the run is received when somebody does, and once."""
    path = tmp_path / "a.db"
    dispatcher, journal, _ = wire(path)
    id = leave(Human(dispatcher=dispatcher))
    answer(id[:6], HumanResponseEvent(response="by post"), journal=path)
    assert [letter.data for letter in journal.inbox.read(id)] == ['{"response":"by post"}']

    async def go_on() -> object:
        return await Human(dispatcher=dispatcher).resume(id)

    assert asyncio.run(go_on()) == "by post"
    assert journal.inbox.read(id) == []
    received = [r for r in JournalSource(path).run(id).records if isinstance(r, EventReceived)]
    assert len(received) == 2
    with pytest.raises(JournalError, match="has ended"):
        answer(id, HumanResponseEvent(response="late"), journal=journal)
    with pytest.raises(RunNotFoundError):
        answer("nobody", HumanResponseEvent(response="lost"), journal=journal)


def test_a_run_has_one_owner(tmp_path: Path) -> None:
    """While a process runs a run, no other one can, nor another handler of the same; when it ends they may."""
    path = tmp_path / "a.db"
    dispatcher, journal, _ = wire(path)

    async def main() -> str:
        id = await until_asked(Human(dispatcher=dispatcher))
        for other in (dispatcher, Dispatcher()):
            with pytest.raises(RunOwnedError, match="goes on in this process"):
                Human(dispatcher=other).resume(id, path)
        code = f"import otflow.journal as j; j.Journal({str(path)!r}).claim({id!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: ASYNC221  nothing else goes on
        assert "RunOwnedError" in done.stderr
        assert "is owned by process" in done.stderr
        with pytest.raises(RunOwnedError):
            answer(id, HumanResponseEvent(response="too early"), journal=journal)
        return id

    id = asyncio.run(main())
    code = f"import otflow.journal as j; j.Journal({str(path)!r}).claim({id!r}); print('mine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "mine\n", done.stderr  # and it has ended without a word
    journal.claim(id)
    journal.release(id)


def test_ended_runs_are_not_resumed(tmp_path: Path) -> None:
    """There is nothing to go on with, and nothing to be found under another name."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    run(Fan(dispatcher=dispatcher), run_id="r")

    async def main() -> None:
        with pytest.raises(JournalError, match=r"has ended \(completed\)"):
            Fan(dispatcher=dispatcher).resume("r")
        with pytest.raises(RunNotFoundError, match="no run 'x'"):
            Fan(dispatcher=dispatcher).resume("x")
        with pytest.raises(WorkflowConfigurationError, match="no journal to resume the run from"):
            Fan(dispatcher=Dispatcher()).resume("r")

    asyncio.run(main())


def test_a_run_of_before_is_not_begun_again(tmp_path: Path) -> None:
    """A new run cannot take the id of one that is in the journal, and the message says what to do, and nothing else."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")
    run(Fan(dispatcher=dispatcher), run_id="r")
    with pytest.raises(WorkflowRuntimeError, match=r"journal already \(completed\)\. Give the new run another id\.$"):
        run(Fan(dispatcher=dispatcher), run_id="r")
    id = leave(Human(dispatcher=dispatcher))
    with pytest.raises(WorkflowRuntimeError, match=rf"Go on with it: workflow\.resume\('{id}'\), or give the new run"):
        run(Human(dispatcher=dispatcher), run_id=id)
    assert JournalSource(journal.path).run(id).outcome == "cancelled"


def test_a_fork_takes_no_run_away(tmp_path: Path) -> None:
    """A run that begins with the data of another one, or is a fork, is refused the id of one that is there."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")
    run(Fan(dispatcher=dispatcher), run_id="other")
    id = leave(Human(dispatcher=dispatcher))
    execution = JournalSource(journal.path).run(id)
    at = next(record.seq for record in execution.records if isinstance(record, WaitStarted))
    before = journal.connection.execute("SELECT * FROM record ORDER BY id").fetchall()

    async def begin(name: str, *, forked: bool) -> object:
        workflow = Human(dispatcher=dispatcher)
        if forked:
            handler = fork(execution, workflow, at=at, run_id=name)
        else:
            handler = workflow.run(ctx=make_context(execution, workflow, at=at), run_id=name)
        with suppress(ContextStateError):  # it has ended
            handler.ctx.send_event(HumanResponseEvent(response=name))
        return await handler

    for name, forked in (("other", True), ("other", False), (id, True)):
        with pytest.raises(WorkflowRuntimeError, match=f"Run {name} is in the journal already .* another run"):
            asyncio.run(begin(name, forked=forked))
    assert journal.connection.execute("SELECT * FROM record ORDER BY id").fetchall() == before
    assert asyncio.run(begin("new", forked=True)) == "new"
    assert asyncio.run(begin(id, forked=False)) == id


class Human2(Workflow):
    """The next version of a workflow, in which the step has another name."""

    @step
    async def question(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Ask, and wait."""
        answer = await ctx.wait_for_event(HumanResponseEvent, Ask())
        return StopEvent(result=answer.response)


def test_another_workflow_is_refused(tmp_path: Path) -> None:
    """A workflow that no longer fits the records is told which; then the right one can still go on."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    id = leave(Human(dispatcher=dispatcher))

    async def main() -> object:
        with pytest.raises(MisfitError, match=r"at record 3, there is no step 'ask' any more"):
            Human2(dispatcher=dispatcher, workflow_name="Human").resume(id)
        with pytest.raises(MisfitError, match="is one of workflow 'Human', and this is workflow 'Fan'"):
            Fan(dispatcher=dispatcher).resume(id)
        handler = Human(dispatcher=dispatcher).resume(id)
        handler.ctx.send_event(HumanResponseEvent(response="yes"))
        return await handler

    assert asyncio.run(main()) == "yes"


class Thing:
    """Something that no JSON can hold."""


@dataclass
class Point:
    """Something whose JSON does not say what it is."""

    x: int


class Place(BaseModel):
    """A model under a key of a state that declares nothing."""

    name: str


class Carrier(Event):
    """Carries anything."""

    load: object = None


class Keeper(Workflow):
    """Keeps what it is given in its state, and waits."""

    value: object = None
    load: object = None

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Carrier:
        """Keep it."""
        await ctx.store.set("kept", self.value)
        async with ctx.store.edit_state() as state:
            state["more"] = {"kept": self.value}
        return Carrier(load=self.load)

    @step
    async def second(self, ctx: Context, ev: Carrier) -> StopEvent:
        """Give it back after an answer."""
        await ctx.wait_for_event(HumanResponseEvent, Ask())
        return StopEvent(result=(await ctx.store.get("kept"), await ctx.store.get("more.kept")))


@pytest.mark.parametrize("value", [(1, 2), {3}, date(2026, 1, 2), Place(name="here"), [Place(name="x")], 1.5, None])
def test_values_keep_their_classes(tmp_path: Path, value: object) -> None:
    """What the state held is what it holds again."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    workflow = Keeper(dispatcher=dispatcher)
    workflow.value = value
    id = leave(workflow)
    answer(id, HumanResponseEvent(response=""), journal=tmp_path / "a.db")

    async def main() -> object:
        return await Keeper(dispatcher=dispatcher).resume(id)

    assert asyncio.run(main()) == (value, value)


@pytest.mark.parametrize("value", [Thing(), Point(1)])
def test_a_state_that_is_not_whole_is_refused(tmp_path: Path, value: object) -> None:
    """A value that cannot be made again stops the run from going on, and is named."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    workflow = Keeper(dispatcher=dispatcher)
    workflow.value = value
    id = leave(workflow)

    async def main() -> None:
        with pytest.raises(MisfitError, match=r"from its journal, because its state is not whole .*'kept'"):
            Keeper(dispatcher=dispatcher).resume(id)

    asyncio.run(main())


def test_an_opaque_event_is_refused(tmp_path: Path) -> None:
    """An event that a step still needs has to be whole."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    workflow = Keeper(dispatcher=dispatcher)
    workflow.load = Thing()
    id = leave(workflow)

    async def main() -> None:
        with pytest.raises(MisfitError, match=r"not whole in the journal: .*could not be serialised: load"):
            Keeper(dispatcher=dispatcher).resume(id)

    asyncio.run(main())


def test_secrets_come_back(tmp_path: Path) -> None:
    """A run with secrets goes on from a journal that has them, and not from one that hides them."""
    for redacted in (False, True):
        path = tmp_path / f"{redacted}.db"
        dispatcher, *_ = wire(path, redacted=redacted)
        id = leave(Human(dispatcher=dispatcher), password="sesame")
        answer(id, HumanResponseEvent(response="ok"), journal=path)

        async def main(dispatcher: Dispatcher = dispatcher, id: str = id) -> object:
            return await Human(dispatcher=dispatcher).resume(id)

        if redacted:
            with pytest.raises(MisfitError, match="something is hidden: password"):
                asyncio.run(main())
        else:
            assert asyncio.run(main()) == "ok"


def test_a_context_saved_in_memory_goes_on_in_the_journal(tmp_path: Path) -> None:
    """Going on from data that was saved earlier puts aside what came after it, and loses nothing."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")
    workflow = Human(dispatcher=dispatcher)

    async def begin() -> tuple[str, dict[str, object]]:
        handler = workflow.run()
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                break
        data = handler.ctx.to_dict()
        await handler.cancel_run()
        return handler.run_id, data

    id, data = asyncio.run(begin())
    before = JournalSource(journal.path).run(id).records

    async def go_on() -> object:
        context: Context = Context.from_dict(workflow, data)
        await context.store.set("seen", 10)
        handler = workflow.run(ctx=context)
        handler.ctx.send_event(HumanResponseEvent(response="back"))
        return await handler

    assert asyncio.run(go_on()) == "back"
    execution = JournalSource(journal.path).run(id)
    resumed = next(r for r in execution.records if isinstance(r, RunResumed) and r.snapshot is not None)
    assert execution.records[: resumed.seq - 1] == before[: resumed.seq - 1]
    aside = journal.connection.execute("SELECT data FROM superseded ORDER BY rowid").fetchall()
    assert len(aside) == len(before) - resumed.seq + 1 > 0
    assert execution.complete
    assert execution.state() == {"seen": 11}
    [info] = JournalSource(journal.path).runs()
    assert info.records == len(execution.records)


def test_the_configured_journal_is_the_default(tmp_path: Path) -> None:
    """With otflow.configure(journal=...) an id is enough."""
    undo = configure(journal=tmp_path / "a.db")
    id = leave(Human())
    answer(id, HumanResponseEvent(response="ok"), journal=Journal(tmp_path / "a.db"))

    async def main() -> object:
        return await Human().resume(id)

    assert asyncio.run(main()) == "ok"
    undo()
