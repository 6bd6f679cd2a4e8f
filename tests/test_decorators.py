"""Laws of `@step` and `@catch_error`: what they read from a signature, and what they refuse."""

# Annotations are evaluated at once here, as most users write them; those in quotes stand for postponed ones.
# ruff: noqa: UP006, UP007, UP035, UP045  the older ways to write a type have to be understood too
# ruff: noqa: D103  the functions with wrong signatures are explained by the table that they stand in

import asyncio
import functools
import gc
import re
import weakref
from typing import Annotated, Generic, List, NoReturn, Optional, TypeVar, Union

import pytest
from typing_extensions import TypeAliasType

from otflow.annotations import is_free_function
from otflow.decorators import catch_error, is_step, step, step_config
from otflow.errors import WorkflowValidationError
from otflow.events import Event, HumanResponseEvent, StartEvent, StepFailedEvent, StopEvent
from otflow.resource import Resource
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.signature import Catch, ServiceParam, StepConfig, UnresolvedAnnotationError, read_step, type_key

S = TypeVar("S")


class A(Event):
    pass


class B(Event):
    pass


class State:
    pass


class Context(Generic[S]):
    """Carries the mark by which the context of a run is recognised."""

    __otflow_context__ = True


class Steps:
    """Takes steps, as a workflow does."""

    def __init__(self):
        self.names = []

    def add_step(self, func):
        self.names.append(config_of(func).name)


def config_of(func) -> StepConfig:
    """Return the config of what is a step for certain."""
    config = step_config(func)
    assert config is not None
    return config


def taking(annotation):
    """Make a function whose event parameter has this annotation."""

    async def takes(ev) -> StopEvent: ...

    takes.__annotations__["ev"] = annotation
    return takes


def giving(annotation):
    """Make a function with this return annotation."""

    async def gives(ev: StartEvent): ...

    gives.__annotations__["return"] = annotation
    return gives


# --- what is read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "accepted"),
    [
        (A, (A,)),
        ("A", (A,)),
        (Event, (Event,)),
        (A | B, (A, B)),
        (Union[B, A], (B, A)),
        ("Union[A, B]", (A, B)),
        (Optional[A], (A,)),
        ("A | None", (A,)),
        (Annotated[A | B, "note"], (A, B)),
        (Union[Annotated[A, "note"], B, A], (A, B)),
        (TypeAliasType("Both", A | B), (A, B)),
    ],
)
def test_accepted_events(annotation, accepted):
    """A step accepts each member of the union that its event parameter is annotated with, in order, once."""
    assert read_step(taking(annotation)).accepts == accepted


@pytest.mark.parametrize(
    ("annotation", "events", "none", "many"),
    [
        (StopEvent, (StopEvent,), False, False),
        ("A | StopEvent", (A, StopEvent), False, False),
        (Optional[A], (A,), True, False),
        (None, (), True, False),
        ("None", (), True, False),
        (NoReturn, (), True, False),
        (list[A], (A,), False, True),
        (List[Union[A, B]], (A, B), False, True),
        ("list[A] | B | None", (A, B), True, True),
        (Annotated[A | None, "note"], (A,), True, False),
    ],
)
def test_returned_events(annotation, events, none, many):
    """Events, None and lists of a return annotation are told apart."""
    config = read_step(giving(annotation))
    assert (config.returns, config.returns_none, config.returns_list) == (events, none, many)


@pytest.mark.parametrize(
    ("annotation", "state"),
    [
        (Context, None),
        ("Context", None),
        (Context[State], State),
        ("Context[State]", State),
        (Optional[Context[State]], State),
        (Annotated[Context["State"], "note"], State),
        (Context[S], None),
    ],
)
def test_context_is_found_by_type(annotation, state):
    """The context parameter is known by its type whatever its name, with the type of its state."""

    async def takes(anything, ev: A) -> None: ...

    takes.__annotations__["anything"] = annotation
    config = read_step(takes)
    assert (config.context_param, config.state_type, config.event_param) == ("anything", state, "ev")


def test_other_parameters_are_services():
    """What is neither event, context nor resource is a service, and a default makes it one to do without."""

    async def takes(
        ev: A, plain, typed: int, mixed: Context | int, given: str = "x", *rest: int, **more: int
    ) -> None: ...

    plain, typed, mixed, given = read_step(takes).services
    assert mixed.annotation == Context | int
    assert (plain.name, plain.required) == ("plain", True)
    assert typed == ServiceParam(name="typed", annotation=int, default=None, required=True)
    assert given == ServiceParam(name="given", annotation=str, default="x", required=False)


def test_resources_are_found_where_names_are_local():
    """A declared resource is no service, also when its annotation is postponed and its types are local."""

    class Store:
        pass

    class Shop:
        @step
        async def sell(self, ev: "A", store: "Annotated[Store, Resource(Store)]") -> "StopEvent": ...

        @step
        @staticmethod
        async def count(ev: "A", store: "Annotated[Store, Resource(Store)]") -> "StopEvent": ...

    for config in (config_of(Shop.sell), config_of(Shop.count)):
        assert [(resource.name, resource.type) for resource in config.resources] == [("store", Store)]
        assert config.services == ()


def test_settings_are_kept():
    """What is said to the decorator stands in the config, and what is not said has its default."""
    policy = ConstantDelayRetryPolicy()

    class Flow:
        @step
        def plain(self, ev: A) -> None: ...

        @step(
            num_workers=2,
            retry_policy=policy,
            skip_graph_checks=["dead_end"],
            accept_event_subclasses=True,
        )
        async def told(self, ev: A) -> None: ...

    plain, told = config_of(Flow.plain), config_of(Flow.told)
    assert (plain.num_workers, plain.retry_policy, plain.skip_graph_checks) == (4, None, frozenset())
    assert (plain.name, plain.is_async, plain.accept_event_subclasses, plain.catches) == (
        "plain",
        False,
        False,
        None,
    )
    assert (told.num_workers, told.retry_policy, told.skip_graph_checks) == (2, policy, {"dead_end"})
    assert (told.name, told.is_async, told.accept_event_subclasses) == ("told", True, True)


def test_the_function_stays_itself():
    """A decorated function is the function, marked so that it is also found through an instance."""

    async def bare(self, ev: A) -> None: ...

    bare.__qualname__ = "Flow.bare"

    class Flow:
        run = step(bare)

    assert Flow.run is bare
    assert step_config(Flow().run) is step_config(bare) is bare._step_config
    assert step_config(Flow) is None
    assert not is_step(Flow)


def test_callables_of_all_kinds():
    """Partials, static methods, bound methods and callable objects are read as the function inside them."""

    class Tool:
        async def __call__(self, ev: A) -> B: ...

        async def work(self, ev: A) -> B: ...

    async def free(key, ev: A) -> B: ...

    for func, name in [
        (functools.partial(free, "key"), "free"),
        (functools.partial(free, key="key"), "free"),
        (Tool(), "Tool"),
        (Tool().work, "work"),
    ]:
        steps = Steps()
        config = config_of(step(workflow=steps)(func))
        assert (config.name, config.accepts, config.returns, config.is_async) == (name, (A,), (B,), True)
        assert steps.names == [name]


def test_static_methods():
    """A static method is a step however the two decorators are ordered, and its first parameter counts."""

    class Flow:
        @step
        @staticmethod
        async def outer(ev: A) -> B: ...

        @staticmethod
        @step
        async def inner(ev: A) -> B: ...

    for found in (Flow.outer, Flow.inner, vars(Flow)["outer"], vars(Flow)["inner"]):
        assert config_of(found).event_param == "ev"


def test_instances_by_another_name():
    """A method may call its instance as it likes."""

    class Flow:
        @step
        async def work(this, ev: A) -> B: ...  # noqa: N805 - that is what is tested

    assert config_of(Flow.work).services == ()


def test_wrapped_functions():
    """A wrapper made with functools.wraps is read as what it wraps, and called as what it is."""

    def timed(func):
        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            return asyncio.run(func(*args, **kwargs))

        return wrapper

    class Flow:
        @step
        @timed
        async def work(self, ev: "A") -> "B": ...

    config = config_of(Flow.work)
    assert (config.accepts, config.returns, config.is_async) == ((A,), (B,), False)


def test_wrapping_objects():
    """An object that says what it wraps is read as that, with its local names, and called as itself."""

    class Timed:
        def __init__(self, func):
            functools.update_wrapper(self, func)

        async def __call__(self, *args, **kwargs): ...

    class Local(Event):
        pass

    class Flow:
        @step
        @Timed
        def work(self, ev: "Local", ctx: Context) -> "B": ...

    config = config_of(Flow.work)
    assert (config.accepts, config.returns, config.is_async) == ((Local,), (B,), True)
    assert (config.services, config.context_param) == ((), "ctx")


# --- names in annotations -------------------------------------------------------------------------------


def test_local_names_are_found():
    """An annotation sees classes of the class body and of all functions around it, the nearest first."""

    class Outer(Event):
        pass

    class Shared(Event):
        pass

    outer_shared = Shared

    def inside():
        class Shared(Event):
            pass

        class Flow:
            class Mine(Event):
                pass

            @step()
            async def work(self, ev: "Outer | Shared | Mine") -> None: ...

        assert config_of(Flow.work).accepts == (Outer, Shared, Flow.Mine)
        assert Shared is not outer_shared

    inside()


@step(workflow=Steps())
async def written_outside(ev: "A") -> "B": ...


def test_names_of_a_module():
    """A free function outside of everything finds the names of its module."""
    assert config_of(written_outside).accepts == (A,)


def test_names_of_a_caller_do_not_hide_globals():
    """Who decorates a function made elsewhere does not change what its annotations mean."""
    expected = A
    func = taking("A")

    def decorate():
        A = B  # noqa: F841, N806 - it is there to be confused with the global A
        return step(workflow=Steps())(func)

    assert config_of(decorate()).accepts == (expected,)


def test_names_of_another_module_do_not_count():
    """A function of another module that is running is not the scope around, even by the same name."""
    func = taking("A")
    func.__qualname__ = "around.<locals>.takes"
    other = {"A": B}
    exec("def around(decorate):\n    A = globals()['A']\n    return decorate()", other)
    assert config_of(other["around"](lambda: step(workflow=Steps())(func))).accepts == (A,)


def test_closures_are_searched():
    """An annotation sees what its function closes over, after the function around it has returned."""

    def make():
        class Hidden(Event):
            pass

        async def work(ev: "Hidden") -> None:
            Hidden()

        return work

    assert config_of(step(workflow=Steps())(make())).accepts[0].__name__ == "Hidden"


def test_names_may_come_later():
    """A step whose annotations name a class that follows is read when it is asked for."""

    class Flow:
        @step
        async def work(self, ev: "Later") -> "StopEvent":
            Later()

    assert is_step(Flow.work)
    with pytest.raises(
        UnresolvedAnnotationError,
        match=r"Failed to resolve type annotations for .*work\. Missing name: Later",
    ):
        step_config(Flow.work)

    class Later(Event):
        pass

    assert config_of(Flow.work).accepts == (Later,)
    assert Flow.work._step_config is step_config(Flow.work)


def test_no_frame_is_kept():
    """Once a step is read, it keeps nothing alive of the place where it was written."""

    class Local:
        pass

    def make():
        witness = Local()

        class Flow:
            @step
            async def work(self, ev: "A") -> "StopEvent": ...

        return Flow, weakref.ref(witness)

    flow, witness = make()
    gc.collect()
    assert step_config(flow.work) is not None
    assert witness() is None


# --- what is refused ------------------------------------------------------------------------------------


def nothing_taken() -> None: ...
def nothing_annotated(self, ev) -> None: ...
def no_event(self, ev: str) -> None: ...
def half_an_event(ev: A | str) -> None: ...
def only_context(self, ctx: Context) -> None: ...
def list_of_events(ev: list[A]) -> None: ...
def two_events(self, ev: A, other: B) -> None: ...
def two_contexts(ev: A, one: Context, two: Context) -> None: ...
def nothing_returned(self, ev: A): ...
def text_returned(ev: A) -> str: ...
def text_in_list(ev: A) -> list[A | str]: ...
def bare_list(ev: A) -> list: ...
def by_position(ev: A, /) -> None: ...
def generator(ev: A) -> StopEvent:
    yield


NO_EVENT = "Step signature must have at least one parameter annotated as type Event"
NO_RETURN = "Return types of workflows step functions must be annotated with their type."
NOT_EVENTS = "Return types of step functions must be events, lists of events or None"


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (nothing_taken, NO_EVENT),
        (nothing_annotated, NO_EVENT),
        (no_event, NO_EVENT),
        (half_an_event, NO_EVENT),
        (only_context, NO_EVENT),
        (list_of_events, NO_EVENT),
        (two_events, "Step signature must contain exactly one parameter of type Event but found 2."),
        (two_contexts, "Step signature must contain at most one parameter of type Context"),
        (nothing_returned, NO_RETURN),
        (text_returned, NOT_EVENTS),
        (text_in_list, NOT_EVENTS),
        (bare_list, NOT_EVENTS),
        (by_position, "Step parameters must not be positional-only: `ev`"),
        (generator, "Step functions must return their events, not yield them"),
    ],
)
def test_wrong_signatures(func, message):
    """A wrong signature is refused where it is decorated, with its fault, its place and what to write."""
    with pytest.raises(WorkflowValidationError) as caught:
        step(workflow=Steps())(func)
    first, advice, place = str(caught.value).split("\n")
    assert first == message
    assert advice.startswith("    ")
    assert place == f"(in {func.__name__}, {__file__}:{func.__code__.co_firstlineno})"


@pytest.mark.parametrize("number", [0, -1, True, "3", 0.5, None])
def test_wrong_num_workers(number):
    """The number of workers is an integer above 0."""
    with pytest.raises(WorkflowValidationError, match="num_workers must be an integer greater than 0"):
        step(workflow=Steps(), num_workers=number)(taking(A))


@pytest.mark.parametrize("policy", [3, object(), ConstantDelayRetryPolicy])
def test_wrong_retry_policies(policy):
    """A retry policy is an object that can be asked for the next attempt."""
    with pytest.raises(WorkflowValidationError, match="retry_policy must"):
        step(workflow=Steps(), retry_policy=policy)(taking(A))


@pytest.mark.parametrize("names", [["terminal_event"], {"reach"}, "reach", [3]])
def test_unknown_checks(names):
    """Only those checks can be skipped for a step that are made of a step."""
    with pytest.raises(WorkflowValidationError, match="Valid names are: dead_end, reachability"):
        step(workflow=Steps(), skip_graph_checks=names)(taking(A))


def test_all_faults_are_listed():
    """One error lists all faults of one function."""

    def wrong(ev: str): ...

    with pytest.raises(WorkflowValidationError) as caught:
        step(num_workers=0, retry_policy=3, skip_graph_checks=["no"])(wrong)
    message = str(caught.value)
    for fault in ["num_workers must", "retry_policy must", "Unknown step-level", NO_EVENT, NO_RETURN]:
        assert message.count(fault) == 1


def test_wrong_settings_do_not_wait_for_names():
    """A wrong setting is refused at once, even when the annotations cannot be read yet."""
    with pytest.raises(WorkflowValidationError, match=r"num_workers must[^$]*Failed to resolve") as caught:
        step(workflow=Steps(), num_workers=0)(taking("Nowhere"))
    assert not isinstance(caught.value, UnresolvedAnnotationError)


def test_broken_annotations_do_not_wait():
    """An annotation that fails for another reason than a missing name is refused at once."""
    with pytest.raises(WorkflowValidationError, match=r"Failed to resolve type annotations.*[^$]*TypeError") as caught:
        step(workflow=Steps())(taking("A | 'B'"))
    assert not isinstance(caught.value, UnresolvedAnnotationError)


@pytest.mark.parametrize("decorator", [step, catch_error])
@pytest.mark.parametrize("func", [Steps, 3, "name", len])
def test_only_functions_are_decorated(decorator, func):
    """A workflow class or a number in the place of the function is refused with the right way to write it."""
    with pytest.raises(WorkflowValidationError, match="expects a function"):
        decorator(func)


def test_functions_without_annotations_of_any_kind():
    """A built-in function inside a partial is refused for what it lacks."""
    with pytest.raises(WorkflowValidationError, match=NO_EVENT):
        step(workflow=Steps())(functools.partial(len))


def test_what_takes_no_mark_is_refused():
    """A callable that no attribute can be set on is refused with a way out."""

    class Tight:
        __slots__ = ()

        async def __call__(self, ev: A) -> B: ...

    with pytest.raises(WorkflowValidationError, match=r"cannot be a step.*decorate that function"):
        step(workflow=Steps())(Tight())


# --- free functions -------------------------------------------------------------------------------------


def test_free_functions_are_added():
    """A free function is added to the workflow that is named, a method is left to its class."""
    steps = Steps()

    @step(workflow=steps)
    def free(ev: A) -> B: ...

    class Flow:
        @step(workflow=steps)
        def method(self, ev: A) -> B: ...

    assert steps.names == ["free"]
    assert config_of(Flow.method).name == "method"


@pytest.mark.parametrize("decorator", [step, step()])
def test_free_functions_need_a_workflow(decorator):
    """A free function without a workflow is refused."""
    message = "To decorate takes please pass a workflow class to the @step decorator."
    with pytest.raises(WorkflowValidationError, match=f"^{re.escape(message)}"):
        decorator(taking(A))


def test_names_of_free_functions():
    """A function is free when its qualified name does not end in a class and its attribute."""
    assert is_free_function("my_function")
    assert is_free_function("some_function.<locals>.my_function")
    assert not is_free_function("MyClass.my_method")
    assert not is_free_function("some_function.<locals>.MyClass.my_function")
    with pytest.raises(ValueError, match="cannot be empty"):
        is_free_function("")


def test_type_keys():
    """The key of an event class says where it is defined."""
    assert type_key(HumanResponseEvent) == "otflow.events:HumanResponseEvent"


# --- handlers -------------------------------------------------------------------------------------------


def test_handlers():
    """A handler is a step with one worker and without retries that says what it catches."""

    class Flow:
        @catch_error
        async def any_step(self, ev: StepFailedEvent) -> StopEvent: ...

        @catch_error(for_steps=["a", "b", "a"], max_recoveries=3)
        async def some_steps(self, ev: StepFailedEvent) -> StopEvent: ...

    every, some = config_of(Flow.any_step), config_of(Flow.some_steps)
    assert every.catches == Catch(for_steps=None, max_recoveries=1)
    assert some.catches == Catch(for_steps=("a", "b"), max_recoveries=3)
    assert (every.num_workers, every.retry_policy, every.accepts) == (1, None, (StepFailedEvent,))


@pytest.mark.parametrize("annotation", [A, StepFailedEvent | A, StartEvent])
def test_handlers_take_failures(annotation):
    """A handler accepts StepFailedEvent and nothing else."""
    message = "@catch_error handler 'takes' must accept StepFailedEvent as its event parameter."
    with pytest.raises(WorkflowValidationError, match=re.escape(message)):
        catch_error(taking(annotation))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_recoveries": 0}, "@catch_error max_recoveries must be an integer >= 1"),
        ({"max_recoveries": True}, "@catch_error max_recoveries must be an integer >= 1"),
        ({"max_recoveries": "2"}, "@catch_error max_recoveries must be an integer >= 1"),
        ({"for_steps": "fetch"}, "@catch_error for_steps must be None or a list of step name strings"),
        ({"for_steps": ("fetch",)}, "@catch_error for_steps must be None or a list of step name strings"),
        ({"for_steps": [taking]}, "@catch_error for_steps must be None or a list of step name strings"),
    ],
)
def test_wrong_settings_of_handlers(settings, message):
    """Wrong settings of a handler are refused before it is applied."""
    with pytest.raises(WorkflowValidationError, match=f"^{re.escape(message)}"):
        catch_error(**settings)
