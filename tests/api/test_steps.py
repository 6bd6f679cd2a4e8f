"""Steps: which events reach them, how many of them work at once, and what they may return."""

from __future__ import annotations

import asyncio
import threading

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowValidationError,
    step,
)
from otflow.events import UnhandledEvent
from tests.api.loops import turn, until


class One(Event):
    pass


class Two(Event):
    pass


class Three(Event):
    pass


class SubOne(One):
    pass


class Nobody(Event):
    pass


class Go(HumanResponseEvent):
    pass


class Tally:
    """How many are at work, and how many were at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.order: list[int] = []

    async def work(self, number: int, times: int = 5) -> None:
        self.order.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        await turn(times)
        self.now -= 1


# --- routing ---------------------------------------------------------------------------------------------------------


async def test_an_event_goes_to_every_step_that_accepts_it():
    """One event is delivered to all accepting steps, as the same object."""
    seen: list[tuple[str, Event]] = []

    class Both(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return One(text="x")

        @step
        async def left(self, ev: One) -> Two:
            seen.append(("left", ev))
            return Two()

        @step
        async def right(self, ev: One) -> Two:
            seen.append(("right", ev))
            return Two()

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            if ctx.collect_events(ev, [Two, Two]) is None:
                return None
            return StopEvent(result=[name for name, _ in seen])

    assert await Both().run() == ["left", "right"]
    assert seen[0][1] is seen[1][1]


async def test_an_event_can_be_sent_to_one_step():
    """`step=` restricts an event to that step."""

    class Choose(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            ctx.send_event(One(), step=ev.to)
            return None

        @step
        async def left(self, ev: One) -> StopEvent:
            return StopEvent(result="left")

        @step
        async def right(self, ev: One) -> StopEvent:
            return StopEvent(result="right")

    assert await Choose().run(to="left") == "left"
    assert await Choose().run(to="right") == "right"


async def test_a_wrong_target_is_refused_at_the_call():
    """An unknown step, and one that does not accept the event, are errors of `send_event` itself."""
    caught: list[str] = []

    class Wrong(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | StopEvent:
            for event, target in ((One(), "missing"), (Nobody(), "take")):
                try:
                    ctx.send_event(event, step=target)
                except WorkflowRuntimeError as error:
                    caught.append(str(error))
            return StopEvent()

        @step
        async def take(self, ev: One) -> StopEvent:
            return StopEvent()

    await Wrong().run()
    assert caught[0].startswith("Step missing does not exist")
    assert caught[1].startswith("Step take does not accept event of type")
    assert "Nobody" in caught[1]


async def test_only_events_can_be_sent():
    """What is no event is refused by `send_event` and by the stream, with what was given."""
    caught: list[str] = []

    class Wrong(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for say in (ctx.send_event, ctx.write_event_to_stream):
                try:
                    say("text")
                except WorkflowRuntimeError as error:
                    caught.append(str(error))
            return StopEvent()

    await Wrong().run()
    assert caught == [
        "send_event() takes an Event instance, not str: 'text'. Make a subclass of Event for it.",
        "write_event_to_stream() takes an Event instance, not str: 'text'.",
    ]


async def test_a_union_lists_the_types_that_a_step_takes():
    """A parameter with a union takes each of its types."""

    class Union(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One | Two:
            return One() if ev.one else Two()

        @step
        async def end(self, ev: One | Two) -> StopEvent:
            return StopEvent(result=type(ev).__name__)

    assert await Union().run(one=True) == "One"
    assert await Union().run(one=False) == "Two"


async def test_start_events_may_be_in_a_union():
    """A step may take the start event and another one, and so be the place of a loop."""

    class Loop(Workflow):
        @step
        async def again(self, ev: StartEvent | One) -> One | StopEvent:
            count = ev.get("count", 0)
            return StopEvent(result=count) if count == 500 else One(count=count + 1)

    assert await Loop().run() == 500


async def test_subclasses_are_not_accepted():
    """A step takes exactly the types that it names; the run that waits for more fails with the reason."""

    class Exact(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return SubOne()

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowStalledError, match=r"no step accepts SubOne .*exact type match"):
        await Exact().run()


async def test_subclasses_are_accepted_on_request():
    """`accept_event_subclasses=True` takes subclasses too, also one that was made after the workflow."""

    class Wide(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return ev.kind()

        @step(accept_event_subclasses=True)
        async def end(self, ev: One) -> StopEvent:
            return StopEvent(result=type(ev).__name__)

    workflow = Wide()

    class Later(SubOne):
        pass

    for kind in (One, SubOne, Later):
        assert await workflow.run(kind=kind) == kind.__name__


async def test_undeclared_events_are_routed():
    """Return annotations are for validation; a type that is not declared is routed all the same."""

    class Secret(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return Two()

        @step
        async def one(self, ev: One) -> Two:
            raise AssertionError("nobody sends it")

        @step
        async def two(self, ev: Two) -> StopEvent:
            return StopEvent(result="two")

    assert await Secret().run() == "two"


async def test_undeclared_stop_events_end_the_run():
    """A stop event ends the run, whatever the step has declared."""

    class Secret(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return StopEvent(result="early")

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent(result="late")

    assert await Secret().run() == "early"


async def test_a_sent_stop_event_ends_the_run():
    """A stop event that is sent, and not returned, ends the run as well."""

    class Sends(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            ctx.send_event(StopEvent(result="sent"))
            await asyncio.Event().wait()
            return None

    assert await Sends().run() == "sent"


async def test_an_event_that_nobody_takes_does_no_harm():
    """An event without a taker is dropped, shown among the internal events, and the run goes on."""

    class Talks(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(Nobody())
            return StopEvent(result="on")

    handler = Talks().run()
    internal = [ev async for ev in handler.stream_events(expose_internal=True)]
    assert await handler == "on"
    lost = [ev for ev in internal if isinstance(ev, UnhandledEvent)]
    assert [(ev.event_type, ev.step_name, ev.idle) for ev in lost] == [("Nobody", "begin", False)]


async def test_events_sent_before_a_failure_count():
    """What a step sent before it raised is delivered."""
    seen: list[Event] = []

    class Fails(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | StopEvent:
            ctx.send_event(One())
            await until(lambda: seen)
            raise ValueError("late")

        @step
        async def take(self, ev: One) -> None:
            seen.append(ev)

    with pytest.raises(ValueError, match="late"):
        await Fails().run()
    assert len(seen) == 1


# --- what a step returns ------------------------------------------------------------------------------------


async def test_none_is_no_event():
    """A step that returns None gives nothing, and is no dead end if it says so."""

    class Gather(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(4):
                ctx.send_event(One(number=number))
            return None

        @step
        async def end(self, ctx: Context, ev: One) -> StopEvent | None:
            events = ctx.collect_events(ev, [One] * 4)
            return None if events is None else StopEvent(result=[it.number for it in events])

    assert await Gather().run() == [0, 1, 2, 3]


async def test_optional_returns_may_be_written_in_any_way():
    """`Optional`, `Union` and `|` mean the same."""
    from typing import Optional, Union  # noqa: PLC0415  # what is tested

    class Old(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Optional[One]:  # noqa: UP045
            return One()

        @step
        async def end(self, ev: Union[One, Two]) -> Union[StopEvent, None]:  # noqa: UP007
            return StopEvent(result=1)

    assert await Old(disable_validation=True).run() == 1


async def test_a_declared_list_is_several_events():
    """A step that declares a list may return several events, each of which goes its way."""

    class Many(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[One]:
            return [One(number=i) for i in range(3)]

        @step
        async def end(self, ctx: Context, ev: One) -> StopEvent | None:
            events = ctx.collect_events(ev, [One] * 3)
            return None if events is None else StopEvent(result=sum(it.number for it in events))

    assert await Many().run() == 3


async def test_an_undeclared_list_is_no_event():
    """A list that the step has not declared fails the run."""

    class Many(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return [One()]

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError, match="Step function begin returned list instead of an Event instance"):
        await Many().run()


async def test_a_list_with_something_else_fails():
    """In a declared list everything has to be an event, and nothing of a wrong list is sent."""
    seen: list[Event] = []

    class Many(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[One]:
            return [One(), "text"]

        @step
        async def end(self, ev: One) -> StopEvent:
            seen.append(ev)
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError, match="Step function begin returned str instead of an Event instance"):
        await Many().run()
    assert seen == []


async def test_an_event_object_may_be_sent_again():
    """The same object can be sent and returned several times; each time it is an event of its own."""

    class Again(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One:
            event = One()
            ctx.send_event(event)
            ctx.send_event(event)
            return event

        @step
        async def end(self, ctx: Context, ev: One) -> StopEvent | None:
            return None if ctx.collect_events(ev, [One] * 3) is None else StopEvent(result="three")

    assert await Again().run() == "three"


async def test_a_step_may_return_its_own_input():
    """An event that comes in can be returned as it is, to loop or to pass it on."""

    class Loop(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return One(left=3)

        @step
        async def again(self, ev: One) -> One | StopEvent:
            if not ev.left:
                return StopEvent(result=ev)
            ev.left -= 1
            return ev

    result = await Loop().run()
    assert isinstance(result, One)


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "expected"), [(None, 4), (1, 1), (2, 2), (50, 10)])
async def test_num_workers_limits_a_step(workers: int | None, expected: int):
    """So many invocations of a step work at once, four by default, and they begin in the order of their events."""
    tally = Tally()
    decorate = step if workers is None else step(num_workers=workers)

    class Fan(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(10):
                ctx.send_event(One(number=number))
            return None

        @decorate
        async def work(self, ev: One) -> Two:
            await tally.work(ev.number, times=20 - ev.number)
            return Two()

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            return None if ctx.collect_events(ev, [Two] * 10) is None else StopEvent()

    await Fan().run()
    assert tally.most == expected
    assert tally.order == list(range(10))


async def test_the_limit_is_per_run():
    """Two runs of one instance do not share the workers of a step."""
    tally = Tally()

    class Single(Workflow):
        @step(num_workers=1)
        async def work(self, ev: StartEvent) -> StopEvent:
            await tally.work(0)
            return StopEvent()

    workflow = Single()
    await asyncio.gather(workflow.run(), workflow.run(), workflow.run())
    assert tally.most == 3


async def test_the_limit_is_per_step():
    """A step that is at its limit does not hold up another one."""

    class Pair(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | Two | None:
            for _ in range(5):
                ctx.send_event(One())
            ctx.send_event(Two())
            return None

        @step(num_workers=1)
        async def stuck(self, ev: One) -> None:
            await asyncio.Event().wait()

        @step(num_workers=1)
        async def end(self, ev: Two) -> StopEvent:
            return StopEvent(result="past")

    assert await Pair().run() == "past"


async def test_a_step_that_never_stands_still_works_alone():
    """Steps that do not await keep the order of their events, whatever num_workers says."""
    order: list[int] = []

    class Quick(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(300):
                ctx.send_event(One(number=number))
            return None

        @step(num_workers=8)
        async def work(self, ctx: Context, ev: One) -> StopEvent | None:
            order.append(ev.number)
            return StopEvent() if len(order) == 300 else None

    await Quick().run()
    assert order == list(range(300))


async def test_what_was_sent_comes_before_what_is_returned():
    """Events reach their step in the order in which they were emitted: those that were sent, then the returned one."""
    order: list[int] = []

    class Emits(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One:
            ctx.send_event(One(number=1))
            ctx.send_event(One(number=2))
            return One(number=3)

        @step
        async def end(self, ev: One) -> StopEvent | None:
            order.append(ev.number)
            return StopEvent() if len(order) == 3 else None

    await Emits().run()
    assert order == [1, 2, 3]


async def test_runs_share_the_event_loop():
    """A run whose steps never stand still lets others have their turn."""
    ticks = 0

    class Busy(Workflow):
        @step
        async def again(self, ev: StartEvent | One) -> One | StopEvent:
            count = ev.get("count", 0)
            return StopEvent() if count == 3000 else One(count=count + 1)

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    await Busy().run()
    ticking.cancel()
    assert ticks > 5


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True, None])
def test_a_wrong_number_of_workers_is_refused(workers: object):
    """num_workers is an integer above zero."""
    with pytest.raises(WorkflowValidationError, match="num_workers must be an integer greater than 0"):

        @step(num_workers=workers)
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent()


# --- kinds of functions -------------------------------------------------------------------------------------


async def test_plain_functions_run_in_a_thread():
    """A step without `async` runs outside the event loop's thread, and its return value counts as ever."""

    class Plain(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> One:
            return One(thread=threading.get_ident())

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent(result=ev.thread)

    assert await Plain().run() != threading.get_ident()


async def test_parameters_may_stand_in_any_order():
    """Event and context are found by their types, under any name and in any order."""

    class Order(Workflow):
        @step
        async def begin(self, start: StartEvent, context: Context) -> One:
            await context.store.set("seen", 1)
            return One()

        @step
        async def middle(self, c: Context, *, e: One) -> Two:
            return Two()

        @step
        async def more(self, *, e: Two) -> Three:
            return Three()

        @step
        async def end(self, *, c: Context, e: Three) -> StopEvent:
            return StopEvent(result=await c.store.get("seen"))

    assert await Order().run() == 1


async def test_steps_share_the_attributes_of_their_workflow():
    """A method sees the instance that it belongs to."""

    class Keeps(Workflow):
        def __init__(self, word: str) -> None:
            super().__init__()
            self.word = word

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.word)

    assert [await Keeps("a").run(), await Keeps("b").run()] == ["a", "b"]


async def test_static_methods_are_steps():
    """A static method is a step like any other."""

    class Static(Workflow):
        @staticmethod
        @step
        async def begin(ev: StartEvent) -> One:
            return One()

        @step
        @staticmethod
        async def end(ev: One) -> StopEvent:
            return StopEvent(result="static")

    assert await Static().run() == "static"


async def test_annotations_may_name_local_classes():
    """Postponed annotations find classes of the function around the workflow, and those written further down."""

    class Local(Event):
        number: int

    class Postponed(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Local:
            return Local(number=1)

        @step
        async def middle(self, ev: Local) -> Later:
            return Later(number=ev.number + 1)

        @step
        async def end(self, ev: Later) -> StopEvent:
            return StopEvent(result=ev.number)

    class Later(Event):
        number: int

    assert await Postponed().run() == 2


async def test_two_events_in_a_signature_are_refused():
    """A step takes one event."""
    with pytest.raises(WorkflowValidationError, match="exactly one parameter of type Event but found 2"):

        class Pair(Workflow):
            @step
            async def both(self, one: One, two: Two) -> StopEvent:
                return StopEvent()


async def test_running_steps_are_named():
    """`ctx.running_steps()` names the steps that are at work."""

    class Waits(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    handler = Waits().run()
    await turn()
    assert await handler.ctx.running_steps() == ["wait"]
    await handler.cancel_run()
    assert await handler.ctx.running_steps() == []


async def test_a_step_may_start_tasks_that_send():
    """A task that a step starts belongs to the step: what it sends is the step's, while the run goes on."""

    class Starts(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            async def later() -> None:
                await turn()
                ctx.send_event(One())

            self.task = asyncio.ensure_future(later())
            await self.task
            return None

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent(result="sent")

    assert await Starts().run() == "sent"


async def test_a_task_may_outlive_its_step():
    """A task that sends after its step has returned still reaches the run, as long as it goes on."""

    class Leaves(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            async def later() -> None:
                await turn()
                ctx.send_event(Go())

            self.task = asyncio.ensure_future(later())
            return None

        @step
        async def end(self, ev: Go) -> StopEvent:
            return StopEvent(result="sent")

    assert await Leaves(disable_validation=True).run() == "sent"
