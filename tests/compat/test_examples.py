"""Programs as the documentation of the followed API shows them, told anew; nothing but `from otflow import ...`."""

import asyncio
import json
import random
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from otflow import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    JsonSerializer,
    Resource,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    WorkflowValidationError,
    step,
)


class Model:
    """Stands for a language model: answers from a list, and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []

    async def complete(self, prompt: str) -> str:
        self.prompts.append(prompt)
        await asyncio.sleep(0)
        return self.answers[(len(self.prompts) - 1) % len(self.answers)]

    async def stream(self, prompt: str):
        for word in (await self.complete(prompt)).split():
            await asyncio.sleep(0)
            yield word


# --- a first workflow: a joke, its critique, and another round ------------------------------------------------


class JokeEvent(Event):
    joke: str


class CritiqueEvent(Event):
    joke: str
    critique: str


class JokeFlow(Workflow):
    def __init__(self, model: Model, rounds: int, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        self.rounds = rounds

    @step
    async def tell(self, ctx: Context, ev: StartEvent | CritiqueEvent) -> JokeEvent:
        if isinstance(ev, StartEvent):
            await ctx.store.set("topic", ev.topic)
            return JokeEvent(joke=await self.model.complete(f"A joke about {ev.topic}"))
        topic = await ctx.store.get("topic")
        return JokeEvent(joke=await self.model.complete(f"A better joke about {topic} than {ev.joke}: {ev.critique}"))

    @step
    async def criticise(self, ctx: Context, ev: JokeEvent) -> CritiqueEvent | StopEvent:
        done = await ctx.store.get("rounds", default=0)
        if done == self.rounds:
            return StopEvent(result=ev.joke)
        await ctx.store.set("rounds", done + 1)
        return CritiqueEvent(joke=ev.joke, critique=await self.model.complete(f"What is wrong with {ev.joke}?"))


async def test_joke_flow():
    """A joke is told, criticised, and told again until it has had its rounds."""
    model = Model("joke one", "too long", "joke two", "too short", "joke three")
    flow = JokeFlow(model, rounds=2, timeout=60, verbose=False)
    assert await flow.run(topic="pirates") == "joke three"
    assert model.prompts[0] == "A joke about pirates"
    assert model.prompts[2] == "A better joke about pirates than joke one: too long"
    assert len(model.prompts) == 5


# --- branches and loops -------------------------------------------------------------------------------------


class BranchA1(Event):
    payload: str


class BranchA2(Event):
    payload: str


class BranchB1(Event):
    payload: str


class BranchB2(Event):
    payload: str


class BranchWorkflow(Workflow):
    @step
    async def start(self, ev: StartEvent) -> BranchA1 | BranchB1:
        return BranchA1(payload="A") if ev.left else BranchB1(payload="B")

    @step
    async def a1(self, ev: BranchA1) -> BranchA2:
        return BranchA2(payload=ev.payload + "1")

    @step
    async def b1(self, ev: BranchB1) -> BranchB2:
        return BranchB2(payload=ev.payload + "1")

    @step
    async def a2(self, ev: BranchA2) -> StopEvent:
        return StopEvent(result=f"{ev.payload}2 complete")

    @step
    async def b2(self, ev: BranchB2) -> StopEvent:
        return StopEvent(result=f"{ev.payload}2 complete")


@pytest.mark.parametrize(("left", "result"), [(True, "A12 complete"), (False, "B12 complete")])
async def test_branches(left: bool, result: str):
    """A step chooses the branch by the type of the event that it returns."""
    assert await BranchWorkflow(timeout=10).run(left=left) == result


class LoopEvent(Event):
    left: int


class LoopWorkflow(Workflow):
    @step
    async def again(self, ev: StartEvent | LoopEvent) -> LoopEvent | StopEvent:
        if ev.left:
            return LoopEvent(left=ev.left - 1)
        return StopEvent(result="Loop over")


async def test_loops():
    """A step that returns what it takes is called again."""
    assert await LoopWorkflow().run(left=10) == "Loop over"


# --- steps at once ------------------------------------------------------------------------------------------


class TaskEvent(Event):
    number: int


class ResultEvent(Event):
    number: int


class ParallelFlow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> TaskEvent | None:
        await ctx.store.set("count", ev.count)
        for number in range(ev.count):
            ctx.send_event(TaskEvent(number=number))
        return None

    @step(num_workers=4)
    async def work(self, ev: TaskEvent) -> ResultEvent:
        for _ in range(random.randint(0, 5)):
            await asyncio.sleep(0)
        return ResultEvent(number=ev.number)

    @step
    async def gather(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        results = ctx.collect_events(ev, [ResultEvent] * await ctx.store.get("count"))
        if results is None:
            return None
        return StopEvent(result=sorted(result.number for result in results))


async def test_parallel_work():
    """A step sends many events, several workers take them, and one step waits until all results are there."""
    assert await ParallelFlow().run(count=20) == list(range(20))


class StepA(Event):
    query: str


class StepB(Event):
    query: str


class StepC(Event):
    query: str


class ADone(Event):
    result: str


class BDone(Event):
    result: str


class CDone(Event):
    result: str


class ConcurrentFlow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> StepA | StepB | StepC | None:
        ctx.send_event(StepC(query="c"))
        ctx.send_event(StepB(query="b"))
        ctx.send_event(StepA(query="a"))
        return None

    @step
    async def step_a(self, ev: StepA) -> ADone:
        return ADone(result=ev.query)

    @step
    async def step_b(self, ev: StepB) -> BDone:
        return BDone(result=ev.query)

    @step
    async def step_c(self, ev: StepC) -> CDone:
        return CDone(result=ev.query)

    @step
    async def gather(self, ctx: Context, ev: ADone | BDone | CDone) -> StopEvent | None:
        events = ctx.collect_events(ev, [CDone, ADone, BDone])
        return None if events is None else StopEvent(result=[event.result for event in events])


async def test_waiting_for_several_kinds_of_events():
    """Events of several types are collected in the order that the step asks for."""
    assert await ConcurrentFlow().run() == ["c", "a", "b"]


# --- people in the loop -------------------------------------------------------------------------------------


class HumanFlow(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prefix="How old are you? ")

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)


async def test_a_human_answers():
    """The caller sees the question in the stream, and sends the answer."""
    handler = HumanFlow().run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            assert event.prefix == "How old are you? "
            handler.ctx.send_event(HumanResponseEvent(response="42"))
    assert await handler == "42"


class ConfirmFlow(Workflow):
    @step
    async def confirm(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(
            HumanResponseEvent,
            waiter_event=InputRequiredEvent(prefix="Really? ", user_name=ev.user),
            requirements={"user_name": ev.user},
        )
        return StopEvent(result=f"{ev.user}: {answer.response}")


async def test_a_step_waits_for_the_answer_of_one_user():
    """A step may stand still until the right person has answered."""
    handler = ConfirmFlow().run(user="Ada")
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="no", user_name="Bob"))
            handler.ctx.send_event(HumanResponseEvent(response="yes", user_name=event.user_name))
    assert await handler == "Ada: yes"


async def test_the_answer_may_come_days_later():
    """A run that waits for a person can be saved, and taken up in another process when the answer is there."""
    flow = HumanFlow(timeout=None)
    handler = flow.run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            break
    saved = json.dumps(handler.ctx.to_dict(serializer=JsonSerializer()))
    await handler.cancel_run()

    again = HumanFlow(timeout=None)
    ctx = Context.from_dict(again, json.loads(saved), serializer=JsonSerializer())
    handler = again.run(ctx=ctx)
    handler.ctx.send_event(HumanResponseEvent(response="42"))
    assert await handler == "42"


# --- streams ------------------------------------------------------------------------------------------------


class ProgressEvent(Event):
    msg: str


class StreamFlow(Workflow):
    def __init__(self, model: Model, **kwargs):
        super().__init__(**kwargs)
        self.model = model

    @step
    async def one(self, ctx: Context, ev: StartEvent) -> ProgressEvent:
        ctx.write_event_to_stream(ProgressEvent(msg="Step one is happening"))
        return ProgressEvent(msg=ev.first_input)

    @step
    async def two(self, ctx: Context, ev: ProgressEvent) -> StopEvent:
        words = []
        async for word in self.model.stream(ev.msg):
            ctx.write_event_to_stream(ProgressEvent(msg=word))
            words.append(word)
        return StopEvent(result=" ".join(words))


async def test_progress_is_streamed():
    """The caller sees what steps write while they work, and the result at the end."""
    handler = StreamFlow(Model("call me Ishmael")).run(first_input="Start the workflow.")
    shown = [event.msg async for event in handler.stream_events() if isinstance(event, ProgressEvent)]
    assert shown == ["Step one is happening", "call", "me", "Ishmael"]
    assert await handler == "call me Ishmael"


# --- workflows in workflows ---------------------------------------------------------------------------------


class ReflectedEvent(Event):
    query: str


class ReflectionFlow(Workflow):
    @step
    async def improve(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Improved: {ev.query}")


class MainFlow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent, reflection: Workflow) -> ReflectedEvent:
        return ReflectedEvent(query=await reflection.run(query=ev.query))

    @step
    async def finish(self, ctx: Context, ev: ReflectedEvent) -> StopEvent:
        return StopEvent(result=ev.query)


async def test_a_workflow_uses_another():
    """A workflow gets another one as a service, under the name of a parameter."""
    flow = MainFlow(timeout=10)
    with pytest.raises(WorkflowValidationError, match="reflection"):
        flow.run(query="x")
    flow.add_workflows(reflection=ReflectionFlow())
    assert await flow.run(query="Initial query") == "Improved: Initial query"


class BaseFlow(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> ReflectedEvent:
        return ReflectedEvent(query=ev.query)

    @step
    async def end(self, ev: ReflectedEvent) -> StopEvent:
        return StopEvent(result=ev.query)


class LongerFlow(BaseFlow):
    @step
    async def end(self, ev: ReflectedEvent) -> ProgressEvent:
        return ProgressEvent(msg=f"{ev.query}, longer")

    @step
    async def really_end(self, ev: ProgressEvent) -> StopEvent:
        return StopEvent(result=ev.msg)


async def test_a_workflow_extends_another():
    """A subclass replaces steps and adds some."""
    assert await BaseFlow().run(query="x") == "x"
    assert await LongerFlow().run(query="x") == "x, longer"


# --- resources ----------------------------------------------------------------------------------------------


class Memory:
    made = 0

    def __init__(self) -> None:
        Memory.made += 1
        self.messages: list[str] = []


def get_memory() -> Memory:
    """Make the resource that steps share."""
    return Memory()


async def get_model() -> Model:
    """Make a resource that takes a while."""
    return Model("answer")


class MemoryEvent(Event):
    text: str


class ResourceFlow(Workflow):
    @step
    async def put(
        self,
        ev: StartEvent,
        memory: Annotated[Memory, Resource(get_memory)],
        model: Annotated[Model, Resource(get_model)],
    ) -> MemoryEvent:
        memory.messages.append(ev.text)
        return MemoryEvent(text=await model.complete(ev.text))

    @step
    async def end(self, ev: MemoryEvent, memory: Annotated[Memory, Resource(get_memory)]) -> StopEvent:
        return StopEvent(result=[*memory.messages, ev.text])


async def test_steps_share_a_resource():
    """A resource is made once for a workflow, by a plain or an async function, and given to the steps that ask."""
    flow = ResourceFlow()
    before = Memory.made
    assert await flow.run(text="one") == ["one", "answer"]
    assert await flow.run(text="two") == ["one", "two", "answer"]
    assert Memory.made == before + 1


# --- state --------------------------------------------------------------------------------------------------


class RunState(BaseModel):
    name: str = "unset"
    numbers: list[int] = Field(default_factory=list)


class SetupEvent(Event):
    query: str


class StateFlow(Workflow):
    @step
    async def start(self, ctx: Context[RunState], ev: StartEvent | SetupEvent) -> SetupEvent | StopEvent:
        async with ctx.store.edit_state() as state:
            state.numbers.append(len(state.numbers))
            if len(state.numbers) < 3:
                return SetupEvent(query="again")
            state.name = "set"
        state = await ctx.store.get_state()
        return StopEvent(result=(state.name, state.numbers))


async def test_typed_state():
    """Steps edit a state of a class of their own."""
    assert await StateFlow().run() == ("set", [0, 1, 2])


async def test_the_state_lasts_over_runs():
    """A context that is passed to several runs keeps the state, and so does its saved form."""

    class Chat(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            history = [*(await ctx.store.get("history", default=[])), ev.text]
            await ctx.store.set("history", history)
            return StopEvent(result=len(history))

    flow = Chat()
    ctx = Context(flow)
    assert await flow.run(ctx=ctx, text="one") == 1
    assert await flow.run(ctx=ctx, text="two") == 2
    again = Context.from_dict(flow, json.loads(json.dumps(ctx.to_dict())))
    assert await flow.run(ctx=again, text="three") == 3
    assert await again.store.get("history") == ["one", "two", "three"]


# --- start and stop events of one's own -----------------------------------------------------------------------


class MyStart(StartEvent):
    question: str
    limit: int = 10


class MyStop(StopEvent):
    answer: str
    cost: float


class TypedFlow(Workflow):
    @step
    async def only(self, ev: MyStart) -> MyStop:
        return MyStop(answer=ev.question[: ev.limit], cost=0.5)


async def test_start_and_stop_have_fields():
    """A workflow declares what it takes and gives; the result is the stop event."""
    result = await TypedFlow().run(question="What is the meaning of it?", limit=4)
    assert (result.answer, result.cost) == ("What", 0.5)
    result = await TypedFlow().run(start_event=MyStart(question="Why?"))
    assert result.answer == "Why?"
    with pytest.raises(WorkflowRuntimeError, match="question"):
        await TypedFlow().run()


# --- functions as steps -------------------------------------------------------------------------------------


class FreeFlow(Workflow):
    pass


class MyEvent(Event):
    text: str


@step(workflow=FreeFlow)
async def some_step(ev: StartEvent) -> MyEvent:
    """Begin."""
    return MyEvent(text="free")


@step(workflow=FreeFlow)
async def some_other_step(ev: MyEvent) -> StopEvent:
    """End."""
    return StopEvent(result=ev.text)


async def test_unbound_functions():
    """Functions outside a class are steps of the class that they name."""
    assert await FreeFlow(timeout=10).run() == "free"


# --- failures -----------------------------------------------------------------------------------------------


class FlakyFlow(Workflow):
    def __init__(self, failures: int, **kwargs):
        super().__init__(**kwargs)
        self.failures = failures

    @step(retry_policy=ConstantDelayRetryPolicy(delay=0.001, maximum_attempts=10))
    async def flaky(self, ev: StartEvent) -> StopEvent:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        return StopEvent(result="up")


async def test_a_flaky_step_is_tried_again():
    """A step with a retry policy is tried again until it works."""
    assert await FlakyFlow(failures=3).run() == "up"


async def test_the_time_is_limited():
    """A run that takes too long raises, and names its timeout."""

    class Slow(Workflow):
        @step
        async def sleep(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    with pytest.raises(WorkflowTimeoutError, match=r"timed out after 0\.001 seconds"):
        await Slow(timeout=0.001).run()


# --- one step at a time, and checkpoints ------------------------------------------------------------------------


async def test_stepwise():
    """A caller lets the steps go one by one, and passes on what they produce."""
    handler = ConcurrentFlow().run(stepwise=True)
    steps = 0
    while (produced := await handler.run_step()) is not None:
        steps += 1
        for event in produced:
            handler.ctx.send_event(event)
    assert await handler == ["c", "a", "b"]
    assert steps == 7


async def test_checkpoints():
    """A checkpointer runs a workflow, and goes on from one of the checkpoints that it kept."""
    model = Model("joke one", "too long", "joke two")
    keeper = WorkflowCheckpointer(workflow=JokeFlow(model, rounds=1))
    handler = keeper.run(topic="pirates")
    assert await handler == "joke two"
    kept = keeper.checkpoints[handler.run_id]
    assert [checkpoint.last_completed_step for checkpoint in kept] == ["tell", "criticise", "tell", "criticise"]
    (critique,) = keeper.filter_checkpoints(output_event_type=CritiqueEvent)
    assert critique.output_event.critique == "too long"
    model.answers = ["joke three"]
    assert await keeper.run_from(checkpoint=critique) == "joke three"
    assert len(model.prompts) == 4
