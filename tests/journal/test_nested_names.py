"""What a run that a step begins is called, and what it raises, when the step runs again or somewhere else."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import pytest

from otflow import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRuntimeError, step
from otflow.context.current import CURRENT
from otflow.journal import JournalSource
from otflow.launch import find_attempted
from otflow.records.kinship import mark_children
from otflow.runtime.attempt import Attempt
from tests.journal.test_nested import Parent, die, go_on, outcomes


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    Parent.hold = None


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


def find_mark() -> str | None:
    """Find how the names of the runs end that this attempt begins; None if they are given by chance."""
    attempt = CURRENT.get()
    assert isinstance(attempt, Attempt)
    attempted = find_attempted(attempt)
    return mark_children(attempted) if attempted is not None else None


class Leaf(Workflow):
    """Does nothing."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        """Give back what came."""
        return StopEvent(result=ev.n)


class Branch(Workflow):
    """Begins a run, and tells how the names of such runs are to end."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        """Begin it."""
        handler = Leaf(dispatcher=self._dispatcher).run(n=ev.n)
        await handler
        return StopEvent(result=(handler.run_id, find_mark()))


# ---------------------------------------------------------------- forks


def in_fork(work: Callable[[], object]) -> object:
    """Do something in a forked worker; return its result."""
    processes = multiprocessing.get_context("fork")
    here, there = processes.Pipe(duplex=False)
    process = processes.Process(target=_tell, args=(there, work), daemon=True)
    process.start()
    there.close()
    assert here.poll(30)
    found = here.recv()
    process.join(30)
    return found


def _tell(there: Connection, work: Callable[[], object]) -> None:
    there.send(work())


class Forking(Parent):
    """Begins runs in two forked workers, and one beside them."""

    async def body(self, ctx: Context) -> object:
        """Begin them, all with the same."""

        async def begin() -> object:
            handler = Branch(dispatcher=self._dispatcher).run(n=1)
            return handler.run_id, *await handler

        found = [in_fork(lambda: asyncio.run(begin())) for _ in range(2)]
        found.append(await begin())
        await self.stand()
        return found, find_mark()


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the law is about forks, and there are threads
@pytest.mark.parametrize("journal", [True, False])
def test_forked_workers_begin_runs_of_their_own(tmp_path: Path, *, journal: bool) -> None:
    """Each worker names its runs by chance, and what these begin after them; nothing is begun under one name twice."""
    path = tmp_path / "a.db"
    if journal:
        die(path, Forking, *["completed"] * 6)
        below = {info.id for info in JournalSource(path).runs()}
        found, mark = go_on(path, Forking)  # type: ignore[misc]  # what it returns
        assert outcomes(path) == {"Forking": ["completed"], "Branch": ["completed"] * 5, "Leaf": ["completed"] * 5}
        assert found[2][0] in below  # this one counts, and it alone
        assert not below & {each[0] for each in found[:2]}
    else:
        found, mark = asyncio.run(_run(Forking()))  # type: ignore[misc]
    assert len({id for each in found for id in each[:2]}) == 6
    assert [each[0].endswith(mark) for each in found] == [False, False, True]
    assert all(leaf.endswith(end) for _, leaf, end in found)


class Ordering(Parent):
    """Begins a run in a forked worker, under a name."""

    async def body(self, ctx: Context) -> object:
        """Begin it."""

        async def begin() -> str:
            try:
                return str(await Leaf(dispatcher=self._dispatcher).run(run_id="order-7", n=1))
            except WorkflowRuntimeError as error:
                return str(error)

        found = in_fork(lambda: asyncio.run(begin()))
        await self.stand()
        return found


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_worker_brings_nothing_back(tmp_path: Path) -> None:
    """It is another process: a run that the journal has is refused to it."""
    path = tmp_path / "a.db"
    die(path, Ordering, "completed")
    assert "order-7 is in the journal already (completed)" in str(go_on(path, Ordering))


async def _run(workflow: Workflow) -> object:
    return await workflow.run(run_id="p")


# ---------------------------------------------------------------- tasks that outlive their step


class Middle(Event):
    """The step that began the task has ended."""


class Trailing(Workflow):
    """Has a task that begins a run when its step is over."""

    child: ClassVar[str | None] = None
    over: ClassVar[asyncio.Event]
    task: ClassVar[asyncio.Task[str]]

    @step
    async def first(self, ev: StartEvent) -> Middle:
        """Leave the task behind."""
        over = Trailing.over = asyncio.Event()

        async def begin() -> str:
            await over.wait()
            handler = Leaf(dispatcher=self._dispatcher).run(run_id=self.child, n=1)
            await handler
            return handler.run_id

        Trailing.task = asyncio.create_task(begin())
        if Parent.hold is not None:
            over.set()
            await Trailing.task
            await Parent.hold.wait()
        return Middle()

    @step
    async def second(self, ev: Middle) -> StopEvent:
        """Let the task go on."""
        Trailing.over.set()
        return StopEvent(result=await Trailing.task)


def test_what_outlives_its_step_begins_other_runs_each_time() -> None:
    """Two runs of one name give no name twice, also when it is given after the end of the step."""
    ids = [asyncio.run(_run(Trailing())) for _ in range(2)]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("child", [None, "order-7"])
def test_what_outlives_its_step_is_found_by_its_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str | None
) -> None:
    """In a run that goes on, such a task begins a run of its own, but for one that the user named."""
    path = tmp_path / "a.db"
    monkeypatch.setattr(Trailing, "child", child)
    die(path, Trailing, "completed")  # type: ignore[arg-type]  # it is run in the same way
    [old] = [info.id for info in JournalSource(path).runs() if info.id != "p"]
    id = go_on(path, Trailing)  # type: ignore[arg-type]
    assert (id == old) is (child is not None)
    assert outcomes(path) == {"Trailing": ["completed"], "Leaf": ["completed"] * (1 if child else 2)}


# ---------------------------------------------------------------- errors


class Shouting(ValueError):
    """Has another text than it was given."""

    __str__ = ValueError.__repr__


class Missing(KeyError):
    """Somebody's own."""


class Failing(Workflow):
    """Raises what it is told to."""

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        """Raise it."""
        raise ERRORS[ev.n]


ERRORS: list[Exception] = [
    ValueError("text"),
    KeyError("kid"),
    KeyError(7),
    KeyError("it's"),
    KeyError(("a", "b")),
    KeyError(None),
    Missing("kid"),
    FileNotFoundError(2, "No such file", "x.txt"),
    Shouting("text"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "wrong"),
]


class Catching(Parent):
    """Looks at what its children raise."""

    async def body(self, ctx: Context) -> object:
        """Begin one for each error."""
        found = []
        for n, error in enumerate(ERRORS):
            try:
                await Failing(dispatcher=self._dispatcher).run(n=n)
            except Exception as seen:
                same = isinstance(seen, type(error))
                found.append((same, seen.args if same else str(seen), isinstance(seen, WorkflowRuntimeError)))
        await self.stand()
        return found


def test_an_error_is_the_same_or_says_that_it_is_not(tmp_path: Path) -> None:
    """What a child raised comes back as it was, or as a plain error that names its class and has its text."""
    path = tmp_path / "a.db"
    die(path, Catching, *["failed"] * len(ERRORS))
    found = go_on(path, Catching)
    assert isinstance(found, list)
    assert len(found) == len(ERRORS)
    assert [n for n, (same, *_) in enumerate(found) if same] == [0, 1, 2, 3]
    for error, (same, seen, runtime) in zip(ERRORS, found, strict=True):
        assert runtime
        if same:
            assert seen == error.args
        else:
            assert type(error).__qualname__ in seen
            assert str(error) in seen
            assert "could not be rebuilt" in seen
