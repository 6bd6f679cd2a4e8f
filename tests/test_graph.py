"""Laws of the graph: who takes what, where a run starts and ends, and which graphs are refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.decorators import catch_error, step, step_config
from otflow.errors import WorkflowConfigurationError, WorkflowValidationError
from otflow.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StepStateChanged,
    StopEvent,
)
from otflow.graph import WorkflowGraph, build_graph, read_checks, resolve, validate_graph
from otflow.signature import StepConfig, type_key


class A(Event):
    pass


class B(Event):
    pass


class C(Event):
    pass


class Child(A):
    pass


class Side(A):
    pass


class Grandchild(Child, Side):
    pass


class Question(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


def node(name: str, accepts: object, returns: object = None, **settings: object) -> StepConfig:
    """Make a config without a function; `accepts` and `returns` may be tuples of event types."""
    given = returns if isinstance(returns, tuple) else (returns,)
    return StepConfig(
        name=name,
        event_param="ev",
        accepts=accepts if isinstance(accepts, tuple) else (accepts,),
        returns=tuple(kind for kind in given if kind is not None),
        returns_none=None in given,
        **settings,
    )


def graph_of(flow: type) -> WorkflowGraph:
    """Make the graph of the steps in a class body."""
    configs = [config for value in vars(flow).values() if (config := step_config(value))]
    return build_graph(flow.__name__, configs)


def faults_of(*configs: StepConfig, **settings: object) -> str:
    """Return the message with which these steps are refused; empty if they are not."""
    graph = build_graph("Flow", configs)
    try:
        validate_graph(graph, **settings)
    except WorkflowValidationError as error:
        return str(error)
    return ""


MAIN = node("main", StartEvent, StopEvent)


# --- start and stop -------------------------------------------------------------------------------------


def test_ends_are_inferred():
    """The start class is what a step accepts, the stop class what one returns, with their subclasses."""

    class Begin(StartEvent):
        pass

    class End(StopEvent):
        pass

    class Flow:
        @step
        async def one(self, ev: Begin) -> A | End: ...

        @step
        async def two(self, ev: A | Begin) -> End: ...

    graph = graph_of(Flow)
    assert (graph.start, graph.stop, graph.name) == (Begin, End, "Flow")
    assert list(graph.steps) == ["one", "two"]


class OtherStart(StartEvent):
    pass


class OtherStop(StopEvent):
    pass


NO_START = (
    "At least one Event of type StartEvent must be received by any step. "
    "(Workflow 'Flow' has no @step that accepts StartEvent.)"
)
NO_STOP = (
    "At least one Event of type StopEvent must be returned by any step. "
    "(Workflow 'Flow' has no @step that returns StopEvent.)"
)


@pytest.mark.parametrize(
    ("configs", "messages"),
    [
        ([node("s", A, StopEvent)], [NO_START]),
        ([node("s", StartEvent, A)], [NO_STOP]),
        ([node("s", A, B)], [NO_START, NO_STOP]),
        (
            [node("s", (StartEvent, OtherStart), StopEvent)],
            ["Only one type of StartEvent is allowed per workflow, found 2: OtherStart, StartEvent"],
        ),
        (
            [node("s", StartEvent, (StopEvent, OtherStop))],
            ["Only one type of StopEvent is allowed per workflow, found 2: OtherStop, StopEvent"],
        ),
    ],
)
def test_ends_that_cannot_be_inferred(configs, messages):
    """Without one start and one stop class there is no graph; what is wrong with the start comes first."""
    with pytest.raises(WorkflowConfigurationError, match="[^$]*".join(map(re.escape, messages))) as caught:
        build_graph("Flow", configs)
    assert str(caught.value).startswith(messages[0])


def test_ends_may_be_left_open():
    """A graph without steps has no ends yet, nor has one that is not asked for them; neither can be run."""
    with pytest.raises(WorkflowConfigurationError, match="Workflow 'Flow' has no configured steps"):
        validate_graph(build_graph("Flow", []))
    graph = build_graph("Flow", [node("s", A, B)], infer=False)
    assert (graph.start, graph.stop) == (None, None)
    with pytest.raises(WorkflowConfigurationError, match="StartEvent must be received by any step"):
        validate_graph(graph)


def test_names_are_unique():
    """Two steps cannot have one name, nor two event classes one key."""
    with pytest.raises(WorkflowValidationError, match="A step main is already part of this workflow"):
        build_graph("Flow", [MAIN, MAIN])
    twin = type("A", (Event,), {"__module__": A.__module__})
    with pytest.raises(WorkflowConfigurationError, match=f"2 event classes are called {type_key(A)}"):
        build_graph("Flow", [node("s", StartEvent, A), node("t", twin, StopEvent)])


# --- routes ---------------------------------------------------------------------------------------------


def test_routes_are_exact():
    """An event goes to every step that accepts its very class, in the order of the steps."""
    graph = build_graph("Flow", [MAIN, node("b", (B, A), StopEvent), node("a", A, StopEvent)])
    assert graph.routes[type_key(A)] == resolve(graph, A) == ("b", "a")
    assert resolve(graph, B) == ("b",)
    assert resolve(graph, Child) == resolve(graph, Event) == ()


def test_subclasses_by_choice():
    """A step that accepts subclasses takes those known already and those defined later."""
    graph = build_graph("Flow", [MAIN, node("a", A), node("all", A, accept_event_subclasses=True)])
    assert graph.routes[type_key(Child)] == graph.routes[type_key(Grandchild)] == ("all",)

    class Later(Child):
        pass

    assert type_key(Later) not in graph.routes
    assert resolve(graph, Later) == ("all",)
    assert resolve(graph, A) == ("a", "all")


def test_ends_of_runs_are_not_routed():
    """A step that accepts all events does not take those that end a run, report a failure or stay inside."""
    graph = build_graph("Flow", [MAIN, node("all", Event, accept_event_subclasses=True)])
    assert resolve(graph, StartEvent) == ("main", "all")
    for kind in (StopEvent, OtherStop, StepFailedEvent, StepStateChanged):
        assert resolve(graph, kind) == ()


def test_classes_defined_anew():
    """A class that was defined again, under the same name, still finds the steps of the first."""
    again = type("A", (Event,), {"__module__": A.__module__})
    child = type("Offspring", (again,), {"__module__": A.__module__})
    graph = build_graph("Flow", [MAIN, node("a", A), node("all", A, accept_event_subclasses=True)])
    assert resolve(graph, again) == ("a", "all")
    assert resolve(graph, child) == ("all",)


def test_outside_and_inside():
    """What is accepted and returned by no step comes from outside, but for the start and for failures."""
    graph = build_graph(
        "Flow",
        [
            node("main", StartEvent, (Child, StopEvent)),
            node("all", A, accept_event_subclasses=True),
            node("hear", (Answer, B), StopEvent),
            node("mend", StepFailedEvent, StopEvent),
        ],
    )
    assert graph.produced == (Child, StopEvent)
    assert graph.external == (Answer, B)


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([MAIN], False),
        ([node("ask", StartEvent, (Question, StopEvent))], True),
        ([MAIN, node("hear", Answer, StopEvent)], True),
    ],
)
def test_people_in_the_loop(configs, expected):
    """A workflow has people in the loop when it asks them, or hears them."""
    graph = build_graph("Flow", configs)
    assert graph.uses_hitl is expected
    assert validate_graph(graph) is expected


# --- the digest -----------------------------------------------------------------------------------------


def test_the_digest_knows_the_steps():
    """The digest changes with steps and events, and neither with their order nor with how they are run."""
    first, second = node("a", StartEvent, (B, A)), node("b", (A, B), StopEvent)
    digest = build_graph("Flow", [first, second]).digest
    same = [node("b", (B, A), StopEvent, num_workers=1), node("a", StartEvent, (A, B))]
    assert build_graph("Other", same).digest == digest
    for changed in (
        node("c", (A, B), StopEvent),
        node("b", A, StopEvent),
        node("b", (A, B), (StopEvent, None)),
    ):
        assert build_graph("Flow", [first, changed]).digest != digest


def test_the_digest_is_the_same_everywhere():
    """The digest does not depend on the process that makes it."""
    code = (
        "from otflow.events import *; from otflow.signature import StepConfig; from otflow.graph import *\n"
        "one = StepConfig(name='main', event_param='ev', accepts=(StartEvent,), returns=(StopEvent,))\n"
        "print(build_graph('Flow', [one]).digest)"
    )
    root = Path(__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == build_graph("Flow", [MAIN]).digest


# --- graphs that are refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (
            [node("a", StopEvent)],
            "Step 'a' cannot accept StopEvent. StopEvent signals the end of the workflow.",
        ),
        ([node("a", StopEvent), node("b", StopEvent)], "Steps 'a', 'b' cannot accept StopEvent."),
        ([node("a", B), node("b", A)], "The following events are consumed but never produced: A, B\n"),
        ([node("a", StartEvent, (B, A))], "The following events are produced but never consumed: A, B\n"),
        ([node("a", B)], "Graph validation failed:\n  - [reachability] Unreachable steps: a\n"),
        ([node("a", StepFailedEvent)], "  - [reachability] Unreachable steps: a\n"),
        ([node("a", StartEvent, A)], "  - [terminal_event] Events produced but never consumed: A\n"),
        ([node("a", StartEvent, A)], "  - [dead_end] Dead-end steps: a\n"),
        (
            [node("a", StartEvent, A), node("b", A, B), node("c", B, A)],
            "Graph validation failed:\n  - [dead_end] Dead-end steps: a, b, c\n",
        ),
    ],
)
def test_refused_graphs(configs, message):
    """A graph in which an event or a step leads nowhere is refused with the fault and its names."""
    shown = faults_of(MAIN, *configs)
    assert message in shown
    assert shown.endswith("(in workflow 'Flow')")


def test_all_faults_are_listed():
    """One error lists all faults, those of events before those of the shape."""
    shown = faults_of(MAIN, node("lost", A, B), node("end", StopEvent))
    lines = [
        "Step 'end' cannot accept StopEvent.",
        "consumed but never produced: A",
        "produced but never consumed: B",
        "Graph validation failed:",
        "[reachability] Unreachable steps: lost",
        "[terminal_event] Events produced but never consumed: B",
        "[dead_end] Dead-end steps: lost",
    ]
    assert sorted(lines, key=shown.find) == lines
    assert shown.find(lines[0]) == 0


def test_a_subclass_nearby_is_pointed_out():
    """Where only a subclass is produced, the message says how a step accepts it."""
    shown = faults_of(node("main", StartEvent, (Child, StopEvent)), node("a", A, StopEvent))
    assert "Child is a subclass of A: write `@step(accept_event_subclasses=True)`" in shown
    taken = node("a", A, StopEvent, accept_event_subclasses=True)
    assert faults_of(node("main", StartEvent, (Child, StopEvent)), taken) == ""


def test_services_are_asked_for():
    """A service without a default has to be there."""

    class Flow:
        @step
        async def one(self, ev: StartEvent, search: object, rank: object = None) -> StopEvent: ...

    graph = graph_of(Flow)
    with pytest.raises(WorkflowValidationError, match=r"^The following services are not available: search\n"):
        validate_graph(graph, services=["rank"])
    assert validate_graph(graph, services=["search"]) is False


# --- graphs that only look wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "configs",
    [
        pytest.param([node("ask", StartEvent, Question), node("hear", Answer, StopEvent)], id="answer"),
        pytest.param([MAIN, node("hear", Answer)], id="answer that is only stored"),
        pytest.param([MAIN, node("see", Question)], id="question from outside"),
        pytest.param([node("say", StartEvent, (Answer, StopEvent))], id="answer from a step"),
        pytest.param(
            [node("fan", StartEvent, (A, None)), node("work", A, B), node("gather", B, (StopEvent, None))],
            id="sent, not returned, and collected",
        ),
        pytest.param([MAIN, node("fan", StartEvent, A), node("store", A)], id="branch that ends in a store"),
        pytest.param([MAIN, node("poll", StartEvent, A), node("again", A, (A, None))], id="loop that runs out"),
        pytest.param([node("main", StartEvent, (A, StopEvent)), node("a", A, StartEvent)], id="start over"),
        pytest.param([MAIN, node("in", A, StopEvent, skip_graph_checks=frozenset({"reachability"}))], id="fed"),
        pytest.param(
            [
                MAIN,
                node("in", A, B, skip_graph_checks=frozenset({"reachability"})),
                node("next", B, StopEvent),
            ],
            id="behind a fed step",
        ),
        pytest.param(
            [
                node("main", StartEvent, (A, StopEvent)),
                node("a", A, B),
                node("b", B, A, skip_graph_checks=frozenset({"dead_end"})),
            ],
            id="before an admitted dead end",
        ),
    ],
)
def test_accepted_graphs(configs):
    """A graph that reaches outside, collects, stores, polls or says so is no fault."""
    assert faults_of(*configs) == ""


def test_failures_are_an_entry():
    """What a handler returns is reached by a failure."""

    class Flow:
        @step
        async def one(self, ev: StartEvent) -> StopEvent: ...

        @catch_error
        async def mend(self, ev: StepFailedEvent) -> A: ...

        @step
        async def again(self, ev: A) -> StopEvent: ...

    assert validate_graph(graph_of(Flow)) is False


@pytest.mark.parametrize(
    ("check", "configs", "faults"),
    [
        ("reachability", [node("a", A, StopEvent)], ["consumed but never produced: A", "[reachability]"]),
        ("terminal_event", [node("a", StartEvent, (A, None))], ["produced but never consumed", "[terminal_"]),
        ("dead_end", [node("a", StartEvent, A), node("b", A, A)], ["[dead_end]"]),
    ],
)
def test_checks_are_skipped_by_name(check, configs, faults):
    """A check that is skipped for a workflow is silent, and was the only one to speak."""
    shown = faults_of(MAIN, *configs)
    assert all(fault in shown for fault in faults)
    assert shown.count("  - [") == 1
    assert faults_of(MAIN, *configs, skip={check}) == ""


def test_unknown_checks():
    """The name of a check that does not exist is refused with those that do."""
    with pytest.raises(
        WorkflowValidationError,
        match=r"Unknown graph check names: reach[.] Valid names are: dead_end, reachability, terminal_event",
    ):
        read_checks(["reach", "dead_end"])
    assert read_checks("dead_end") == {"dead_end"}
    assert "Unknown graph check names: no" in faults_of(MAIN, skip=["no"])


# --- handlers -------------------------------------------------------------------------------------------


def handler(name: str, *for_steps: str) -> StepConfig:
    """Make the config of a handler of these steps, or of all."""

    async def handle(self, ev: StepFailedEvent) -> StopEvent: ...

    handle.__name__, handle.__qualname__ = name, f"Flow.{name}"
    config = step_config(catch_error(for_steps=list(for_steps) or None)(handle))
    assert config is not None
    return config


def test_a_named_handler_goes_first():
    """A step has the handler that names it, else the one that names none; a handler has none."""
    graph = build_graph("Flow", [handler("every"), handler("some", "b"), MAIN, node("b", StartEvent)])
    assert graph.handlers == {"main": "every", "b": "some"}
    assert validate_graph(graph) is False


@pytest.mark.parametrize(
    ("handlers", "message"),
    [
        (
            [handler("x"), handler("y")],
            "Only one wildcard @catch_error handler is allowed per workflow, found 2: x, y",
        ),
        ([handler("x", "gone")], "@catch_error handler 'x' lists unknown step 'gone' in for_steps."),
        (
            [handler("x", "y"), handler("y")],
            "@catch_error handler 'x' cannot cover another handler step 'y'.",
        ),
        ([handler("x", "x")], "@catch_error handler 'x' cannot cover another handler step 'x'."),
        (
            [handler("x", "main"), handler("y", "main")],
            "Step 'main' is claimed by two @catch_error handlers: 'x' and 'y'.",
        ),
    ],
)
def test_refused_handlers(handlers, message):
    """Handlers that are in each other's way are refused."""
    assert faults_of(MAIN, *handlers).startswith(message)


# --- any graph ------------------------------------------------------------------------------------------

KINDS = (StartEvent, A, B, C, StopEvent)
KINDS_ACCEPTED = st.sampled_from(KINDS[:-1])
KINDS_RETURNED = st.lists(st.sampled_from(KINDS[1:]), min_size=1, max_size=2).map(tuple)


def follow(known: set[type], configs: list[StepConfig], *, back: bool) -> set[type]:
    """Return all event types that those known lead to, or (`back`) that lead to them."""
    for _ in configs:
        for config in configs:
            source, target = (config.returns, config.accepts) if back else (config.accepts, config.returns)
            if known & set(source):
                known = known | set(target)
    return known


@given(st.lists(st.tuples(KINDS_ACCEPTED, KINDS_RETURNED), max_size=6))
def test_shapes_are_judged_rightly(table):
    """Unreachable are exactly the steps no event leads to, dead ends exactly those that no stop follows."""
    configs = [MAIN, *(node(f"s{number}", *row) for number, row in enumerate(table))]
    shown = faults_of(*configs)
    reached = follow({StartEvent}, configs, back=False)
    alive = follow({StopEvent}, configs, back=True)
    lost = [it.name for it in configs if not reached & set(it.accepts)]
    dead = [it.name for it in configs if not alive & set(it.returns)]
    for check, names in (("reachability] Unreachable", lost), ("dead_end] Dead-end", dead)):
        found = re.search(rf"{check} steps: (.*)", shown)
        assert (found.group(1).split(", ") if found else []) == names
