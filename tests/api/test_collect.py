"""`collect_events` is first in, first out per type, counts duplicates, keeps what is too much, and never loses."""

import asyncio
import itertools

import pytest

from otflow import Context, ContextStateError, Event, StartEvent, StopEvent, Workflow, step
from otflow.records.record import EventBuffered, EventsCollected, EventSent, StepStarted
from otflow.retry_policy import retry_policy, wait_fixed
from tests.api.loops import turn
from tests.api.tape import Tape


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class C(Event):
    n: int = 0


class Give(Workflow):
    """Sends the events it is given, in their order; a subclass adds the step that collects them."""

    def __init__(self, *events: Event, **options) -> None:
        super().__init__(**options)
        self.given = events
        self.found: list[list[str] | None] = []

    @step
    async def give(self, ctx: Context, ev: StartEvent) -> A | B | C | None:
        for event in self.given:
            ctx.send_event(event)

    def note(self, found: list[Event] | None) -> list[str] | None:
        """Write down what a collection gave, as text."""
        self.found.append(None if found is None else texts(found))
        return self.found[-1]


def texts(events: list[Event]) -> list[str]:
    """Name events by type and number."""
    return [f"{type(event).__name__}{event.n}" for event in events]


class Pairs(Give):
    """Collects an A and a B, with one worker, and ends the run with the last of its events."""

    @step(num_workers=1)
    async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
        self.note(ctx.collect_events(ev, [A, B]))
        if len(self.found) == len(self.given):
            return StopEvent(result=[each for each in self.found if each])
        return None


# --- order and count ----------------------------------------------------------------------------------------


async def test_nothing_before_all_types_are_there():
    """The answer is None until each expected type has come, then the events in the order of `expected`."""
    workflow = Pairs(B(n=1), A(n=2))
    assert await workflow.run() == [["A2", "B1"]]
    assert workflow.found == [None, ["A2", "B1"]]


async def test_first_in_first_out_per_type():
    """The event of a type that came first leaves first."""
    assert await Pairs(A(n=1), A(n=2), B(n=3)).run() == [["A1", "B3"]]


async def test_surplus_is_kept_for_the_next_collection():
    """What is too much for one collection completes the next one."""
    assert await Pairs(A(n=1), A(n=2), B(n=1), B(n=2)).run() == [["A1", "B1"], ["A2", "B2"]]
    assert await Pairs(B(n=1), B(n=2), B(n=3), A(n=1), A(n=2)).run() == [["A1", "B1"], ["A2", "B2"]]


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("AAABBB"))))
async def test_every_order_of_arrival_gives_the_same_pairs(order):
    """However the events are mixed, the nth A meets the nth B, and nothing is left over."""
    count = {"A": itertools.count(1), "B": itertools.count(1)}
    kinds = {"A": A, "B": B}
    events = [kinds[name](n=next(count[name])) for name in order]
    assert await Pairs(*events).run() == [["A1", "B1"], ["A2", "B2"], ["A3", "B3"]]


async def test_a_type_may_be_expected_several_times():
    """Duplicates are counted: a type that stands twice in `expected` needs two events, one for each place."""

    class Three(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = self.note(ctx.collect_events(ev, [A, B, A]))
            return StopEvent(result=found) if found else None

    assert await Three(A(n=1), A(n=2), A(n=3), B(n=4)).run() == ["A1", "B4", "A2"]


async def test_a_type_that_is_not_expected_is_passed_over():
    """An event of another type is neither kept nor counted."""
    tape = Tape()
    workflow = Pairs(A(n=1), C(n=1), C(n=2), B(n=1), dispatcher=tape.dispatcher)
    assert await workflow.run() == [["A1", "B1"]]
    assert workflow.found == [None, None, None, ["A1", "B1"]]
    assert len(tape.all(EventBuffered)) == 1


async def test_what_is_expected_may_change():
    """A call that expects less than is there gets what came first; the event that it was made with is kept."""

    class Changes(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            self.note(ctx.collect_events(ev, [A, B] if ev.n > 1 else [A, B, C]))
            return StopEvent(result=self.found) if ev.n == 3 else None

    workflow = Changes(A(n=1), B(n=1), A(n=2), B(n=3))
    assert await workflow.run() == [None, None, ["A1", "B1"], ["A2", "B3"]]


async def test_expecting_nothing_is_complete_at_once():
    """With nothing to expect the answer is the empty list, and the event is not put aside."""

    class Nothing(Give):
        @step
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent:
            return StopEvent(result=ctx.collect_events(ev, []))

    tape = Tape()
    assert await Nothing(A(), dispatcher=tape.dispatcher).run() == []
    assert tape.all(EventBuffered) + tape.all(EventsCollected) == []


async def test_the_live_objects_are_given():
    """Collected are the very objects that were sent."""

    class Same(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = ctx.collect_events(ev, [A, B])
            return StopEvent(result=found) if found else None

    first, second = A(n=1), B(n=2)
    found = await Same(first, second).run()
    assert found[0] is first
    assert found[1] is second


# --- buffers ------------------------------------------------------------------------------------------------


async def test_steps_do_not_share_buffers():
    """Two steps that collect the same types each get every event."""

    class Two(Give):
        @step(num_workers=1)
        async def left(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            return self.end("left", ctx.collect_events(ev, [A, B]))

        @step(num_workers=1)
        async def right(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            return self.end("right", ctx.collect_events(ev, [A, B]))

        def end(self, name: str, found: list[Event] | None) -> StopEvent | None:
            if found is None:
                return None
            done[name] = texts(found)
            return StopEvent(result=done) if len(done) == 2 else None

    done: dict[str, list[str]] = {}
    assert await Two(A(n=1), B(n=1)).run() == {"left": ["A1", "B1"], "right": ["A1", "B1"]}


async def test_buffers_are_told_apart_by_their_ids():
    """Under two ids a step collects twice, each for itself; without an id it is a third one."""

    class Ids(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            name = "odd" if ev.n % 2 else "even"
            self.note(ctx.collect_events(ev, [A, B], buffer_id=name))
            whole = ctx.collect_events(ev, [A, A, B, B])
            return StopEvent(result=texts(whole)) if whole else None

    workflow = Ids(A(n=1), A(n=2), B(n=4), B(n=3))
    assert await workflow.run() == ["A1", "A2", "B4", "B3"]
    assert workflow.found == [None, None, ["A2", "B4"], ["A1", "B3"]]


async def test_runs_do_not_share_buffers():
    """What one run put aside is not seen by another run of the same workflow."""

    class Both(Workflow):
        @step
        async def take(self, ctx: Context, ev: StartEvent) -> StopEvent:
            found = ctx.collect_events(ev, [StartEvent, StartEvent])
            return StopEvent(result=found)

    workflow = Both()
    assert await asyncio.gather(workflow.run(), workflow.run()) == [None, None]


# --- foreign events -----------------------------------------------------------------------------------------


async def test_foreign_events_can_be_collected():
    """An event that the step was not called with counts as any other, and is recorded with its contents."""

    class Foreign(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            first = ctx.collect_events(B(n=7), [A, B])
            found = ctx.collect_events(ev, [A, B])
            return StopEvent(result=(first, texts(found or [])))

    tape = Tape()
    assert await Foreign(A(n=1), dispatcher=tape.dispatcher).run() == (None, ["A1", "B7"])
    (buffered,) = tape.all(EventBuffered)
    assert buffered.type.endswith(":B")
    assert buffered.body.json == b'{"n":7}'


async def test_a_foreign_event_completes_a_collection():
    """The last event may be a foreign one, and be the same object in the answer."""

    class Foreign(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            assert ctx.collect_events(ev, [A, B]) is None
            found = ctx.collect_events(other, [A, B])
            return StopEvent(result=found)

    other = B(n=8)
    found = await Foreign(A(n=1)).run()
    assert texts(found) == ["A1", "B8"]
    assert found[1] is other


async def test_a_step_may_collect_only_what_others_made():
    """Events that a step makes itself are collected in the order in which they were offered."""

    class Own(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            answers = [ctx.collect_events(C(n=n), [C, C, C]) for n in range(4)]
            return StopEvent(result=[answer and texts(answer) for answer in answers])

    assert await Own(A()).run() == [None, None, ["C0", "C1", "C2"], None]


# --- several workers, one body ------------------------------------------------------------------------------


async def test_several_workers_may_collect_at_once():
    """With many workers each event is counted once, each collection is complete once, and no body runs again."""

    class Many(Give):
        @step(num_workers=8)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            bodies.append(ev.n)
            await asyncio.sleep(0)
            found = ctx.collect_events(ev, [A] * 10)
            await asyncio.sleep(0)
            if found:
                self.note(found)
            return StopEvent() if len(self.found) == 4 else None

    bodies: list[int] = []
    tape = Tape()
    workflow = Many(*[A(n=n) for n in range(40)], dispatcher=tape.dispatcher)
    await workflow.run()
    assert sorted(bodies) == list(range(40))
    assert len(tape.all(EventsCollected)) == 4
    taken = [text for found in workflow.found for text in found]
    assert sorted(taken) == sorted(f"A{n}" for n in range(40))
    # each invocation began once
    assert len({record.invocation for record in tape.all(StepStarted)}) == len(tape.all(StepStarted))


async def test_arrival_is_the_order_of_the_calls():
    """With several workers the order is that in which they asked, not that in which their events were sent."""

    class Race(Give):
        @step(num_workers=2)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            if ev.n == 1:
                await second_is_in.wait()
            found = ctx.collect_events(ev, [A, A])
            second_is_in.set()
            return StopEvent(result=texts(found)) if found else None

    second_is_in = asyncio.Event()
    assert await Race(A(n=1), A(n=2)).run() == ["A2", "A1"]


async def test_a_large_collection_from_a_plain_step():
    """A plain step in threads collects as safely as a coroutine."""

    class Threads(Give):
        @step(num_workers=4)
        def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = ctx.collect_events(ev, [A] * 50)
            return StopEvent(result=texts(found)) if found else None

    found = await Threads(*[A(n=n) for n in range(50)]).run()
    assert sorted(found) == sorted(f"A{n}" for n in range(50))


# --- retries ------------------------------------------------------------------------------------------------


async def test_a_retry_after_a_collection_gets_the_same_events():
    """An attempt that fails after its collection was complete is followed by one that gets the same events."""

    class Fails(Give):
        @step(num_workers=1, retry_policy=retry_policy(wait=wait_fixed(0)))
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = ctx.collect_events(ev, [A, B])
            if found is None:
                return None
            self.note(found)
            if ctx.attempt < 3:
                raise OSError
            return StopEvent(result=self.found)

    tape = Tape()
    result = await Fails(A(n=1), A(n=2), B(n=1), dispatcher=tape.dispatcher).run()
    assert result == [["A1", "B1"]] * 3
    assert len(tape.all(EventsCollected)) == 1


async def test_a_retry_before_a_collection_is_complete_counts_its_event_once():
    """An attempt that put its event aside and then failed does not put it aside again."""

    class Fails(Give):
        @step(num_workers=1, retry_policy=retry_policy(wait=wait_fixed(0)))
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = self.note(ctx.collect_events(ev, [A, A]))
            if ctx.attempt < 3:
                raise OSError
            return StopEvent(result=self.found) if found else None

    tape = Tape()
    workflow = Fails(A(n=1), A(n=2), dispatcher=tape.dispatcher)
    await workflow.run()
    assert len(tape.all(EventBuffered)) == 1
    assert [found for found in workflow.found if found] == [["A1", "A2"]] * 3


async def test_what_a_completed_collection_of_a_failed_attempt_took_is_not_given_to_others():
    """While a step that collected waits for its retry, the events that it took stay its own."""

    class Fails(Give):
        @step(num_workers=1, retry_policy=retry_policy(wait=wait_fixed(0)))
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            found = ctx.collect_events(ev, [A, A])
            if found is None:
                return None
            if ctx.attempt == 1:
                raise OSError
            self.note(found)
            return StopEvent(result=self.found) if len(self.found) == 2 else None

    found = await Fails(*[A(n=n) for n in range(4)]).run()
    assert sorted(itertools.chain(*found)) == ["A0", "A1", "A2", "A3"]


async def test_one_attempt_that_asks_twice_counts_its_event_once():
    """Asking again about the same event gives the same answer."""

    class Twice(Give):
        @step(num_workers=1)
        async def take(self, ctx: Context, ev: A | B | C) -> StopEvent | None:
            answers = [self.note(ctx.collect_events(ev, [A, A])) for _ in range(2)]
            return StopEvent(result=answers) if answers[0] else None

    workflow = Twice(A(n=1), A(n=2))
    assert await workflow.run() == [["A1", "A2"]] * 2
    assert workflow.found[:2] == [None, None]


# --- collecting steps that return nothing --------------------------------------------------------------------


async def test_a_collecting_step_that_returns_none_gives_no_event():
    """A step that collects is called once for each event, and its None is neither an event nor a dead end."""
    tape = Tape()
    workflow = Pairs(A(n=1), B(n=1), dispatcher=tape.dispatcher)
    assert workflow.validate() is False
    await workflow.run()
    # one for each event that was given, and the stop event
    assert len(tape.all(EventSent)) == 3


# --- an idle context ----------------------------------------------------------------------------------------


async def test_an_idle_context_collects_for_its_caller():
    """Outside a run a context collects too, by the same rules."""
    ctx = Context(Pairs())
    assert ctx.collect_events(A(n=1), [A, B]) is None
    assert ctx.collect_events(A(n=2), [A, B]) is None
    assert ctx.collect_events(C(n=1), [A, B]) is None
    assert texts(ctx.collect_events(B(n=1), [A, B])) == ["A1", "B1"]
    assert texts(ctx.collect_events(B(n=2), [A, B])) == ["A2", "B2"]
    assert ctx.collect_events(A(), []) == []
    assert texts(ctx.collect_events(C(n=2), [C])) == ["C2"]
    assert ctx.collect_events(A(n=5), [A, B], buffer_id="other") is None


async def test_collecting_from_outside_a_running_step_is_refused():
    """While a run uses the context, only its steps collect: whoever else asks is told so."""

    class Stands(Workflow):
        @step
        async def stand(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    handler = Stands().run()
    with pytest.raises(ContextStateError, match=r"collect_events\(\).*only inside a step"):
        handler.ctx.collect_events(A(), [A, B])
    await handler.cancel_run()


async def test_a_task_that_outlived_its_step_cannot_collect():
    """A task that goes on after its step has returned is told that its step is gone."""

    class Leaves(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> A:
            tasks.append(asyncio.create_task(later(ctx, ev)))
            return A()

        @step
        async def stand(self, ctx: Context, ev: A) -> StopEvent:
            gone.set()
            await turn()
            return StopEvent()

    async def later(ctx: Context, ev: Event) -> None:
        await gone.wait()
        ctx.collect_events(ev, [StartEvent] * 2)

    gone, tasks = asyncio.Event(), []
    await Leaves().run()
    with pytest.raises(ContextStateError, match="outlived its step"):
        await tasks[0]
