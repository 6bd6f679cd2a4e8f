"""Drawing from a program: which run is drawn, in which form, and where it is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace

import pytest

from otflow import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.errors import OtflowError
from otflow.records.history import read_runs
from otflow.testing import capture_records
from otflow.visualize import (
    Drawing,
    UnknownRunError,
    draw_all_possible_flows,
    draw_all_possible_flows_mermaid,
    draw_execution,
    draw_execution_mermaid,
    draw_most_recent_execution,
    draw_most_recent_execution_mermaid,
    keep_history,
    recent_runs,
)


@pytest.fixture(autouse=True)
def _history_is_kept() -> None:
    """Keep the last runs, as the import does in a program."""
    keep_history()


class Middle(Event):
    text: str


class Pair(Workflow):
    @step
    async def first(self, ev: StartEvent) -> Middle:
        return Middle(text=ev.text)

    @step
    async def second(self, ev: Middle) -> StopEvent:
        return StopEvent(result=ev.text)


class Outer(Workflow):
    @step
    async def call(self, ev: StartEvent, inner: Pair) -> StopEvent:
        return StopEvent(result=await inner.run(text="x"))


class Patient(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.wait_for_event(HumanResponseEvent)
        return StopEvent()


class Never(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


async def test_the_latest_run_is_drawn(tmp_path):
    """By the workflow or its class the latest run is found, by a handler or an id just that one."""
    workflow = Pair()
    handlers = [workflow.run(text=f"text {number}") for number in range(2)]
    for handler in handlers:
        await handler
    file = tmp_path / "run.html"
    for of, number in ((workflow, 1), (Pair, 1), (handlers[0], 0), (handlers[0].run_id, 0)):
        drawing = draw_most_recent_execution(of, file)
        assert f"run {handlers[number].run_id} · completed" in drawing.picture.subtitle
        assert f"text {number}" in file.read_text("utf-8")
    assert recent_runs("Pair")[:2] == [handlers[1].run_id, handlers[0].run_id]


async def test_a_run_that_goes_on_is_drawn(tmp_path):
    """A run that waits can be drawn, and shows for what."""
    dispatcher = Dispatcher()
    keep_history(dispatcher)
    handler = Patient(dispatcher=dispatcher).run()
    while "RunPaused" not in str([type(each).__name__ for each in keep_history(dispatcher).read(handler.run_id)]):
        await asyncio.sleep(0)
    drawing = draw_most_recent_execution(handler, tmp_path / "run.html")
    assert any(node.title == "wait for HumanResponseEvent" and node.tone == "wait" for node in drawing.picture.nodes)
    handler.ctx.send_event(HumanResponseEvent())
    await handler


async def test_unknown_runs_are_refused(tmp_path):
    """A run that is not kept is named in the error, with what to do; nothing is written."""
    file = tmp_path / "run.html"
    with pytest.raises(UnknownRunError, match=r"a run of Never\. .*otflow\.visualize is imported"):
        draw_most_recent_execution(Never(), file)
    handler = Never(dispatcher=Dispatcher()).run()
    await handler
    with pytest.raises(OtflowError, match=handler.run_id):
        draw_most_recent_execution_mermaid(handler)
    assert not file.exists()


@pytest.mark.parametrize(
    ("name", "begin"), [("a.html", "<!doctype html>"), ("a.svg", "<svg "), ("a.mmd", "flowchart LR"), ("a.txt", "Pair")]
)
async def test_the_ending_says_the_form(tmp_path, name, begin):
    """A file gets the form that its name says."""
    handler = Pair().run(text="x")
    await handler
    draw_most_recent_execution(handler, tmp_path / name)
    assert (tmp_path / name).read_text("utf-8").startswith(begin)


def test_flows_are_drawn_of_class_and_instance(tmp_path):
    """A workflow is drawn alike by its class and by an instance of it, into the file that the followed API names."""
    file = tmp_path / "flows.html"
    one, other = (draw_all_possible_flows(of, file).picture for of in (Pair, Pair()))
    assert one == other
    assert file.read_text("utf-8").startswith("<!doctype html>")
    titles = [node.title for node in one.nodes]
    assert titles == ["StartEvent", "Middle", "StopEvent", "first", "second"]
    named = {(titles[edge.source], titles[edge.target]) for edge in one.edges}
    assert named == {("StartEvent", "first"), ("first", "Middle"), ("Middle", "second"), ("second", "StopEvent")}


def test_children_are_drawn(tmp_path):
    """The workflows that steps call are drawn with them, unless they are not wanted."""
    outer = Outer()
    outer.add_workflows(inner=Pair())
    for of in (Outer, outer):
        picture = draw_all_possible_flows(of, tmp_path / "f.svg").picture
        assert {"call", "inner.first", "inner.second"} <= {node.title for node in picture.nodes}
    assert "inner.first" not in draw_all_possible_flows_mermaid(outer, include_child_workflows=False)


async def test_mermaid_is_returned(tmp_path):
    """The Mermaid functions give the text, and write it where they are told to."""
    handler = Pair().run(text="x")
    await handler
    text = draw_most_recent_execution_mermaid(Pair, tmp_path / "a.mmd", max_label_length=4)
    assert (tmp_path / "a.mmd").read_text("utf-8") == text
    assert '|"Mid…"|' in text
    assert draw_all_possible_flows_mermaid(Pair, tmp_path / "b.mmd").count("-->") == 4


async def test_executions_are_drawn_from_anywhere(tmp_path):
    """Records, a history and an execution give the same drawing; what an execution misses is told."""
    with capture_records() as records:
        await Pair().run(text="x")
    (run,) = read_runs(records)
    gap = SimpleNamespace(first=4, last=5, reason="The span of second is missing.")
    told = SimpleNamespace(history=run, gaps=(gap,))
    one = draw_execution(records, tmp_path / "a.svg").picture
    assert draw_execution(run, None).picture == one
    assert draw_execution(told, None).picture.remarks == (*one.remarks, gap.reason)
    gaps = tuple(SimpleNamespace(reason=f"Record {number} is missing.") for number in range(4000))
    many = draw_execution(SimpleNamespace(history=run, gaps=gaps), None)
    assert many.picture.remarks[-2:] == ("Record 3 is missing.", "and 3,996 more gaps.")
    assert many.svg().count("is missing.") == 4
    assert draw_execution_mermaid(records) == Drawing(one).mermaid()
    for wrong in ([], [*records, records[0].__class__(seq=1, run="b", at=0, workflow="", graph="")]):
        with pytest.raises(ValueError, match="of one run; these are of"):
            draw_execution(wrong, None)


async def test_notebooks_show_drawings(tmp_path):
    """A notebook shows the page in a frame, if it is wanted there; everything else shows a line of text."""
    with capture_records() as records:
        await Pair().run(text="x")
    shown = draw_execution(records, None, notebook=True)
    assert shown._repr_mimebundle_()["text/html"].startswith("<iframe srcdoc=")
    assert shown._repr_mimebundle_()["text/plain"].startswith("<Drawing of Pair: run ")
    assert set(draw_execution(records, None)._repr_mimebundle_()) == {"text/plain"}


def test_who_does_not_draw_pays_nothing():
    """Without the import of this module no run is kept, and no drawing is loaded with the package."""
    code = (
        "import sys, otflow\n"
        "from otflow.dispatcher import default_dispatcher as d\n"
        "print(any('Memory' in type(each).__name__ for each in d.patient), 'otflow.drawing.page' in sys.modules)\n"
        "import otflow.visualize\n"
        "print(any('Memory' in type(each).__name__ for each in d.patient), 'igraph' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "False"]
