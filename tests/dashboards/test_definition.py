"""What a workflow says of itself reaches its dashboard and its rules."""

from __future__ import annotations

import pytest

from otflow import StartEvent, StopEvent, Workflow
from otflow.dashboards.definition import MOST_ATTEMPTS, Retries, define
from otflow.dashboards.workflow_dashboard import file_name, workflow_dashboard
from otflow.dashboards.workflow_rules import remarks, workflow_rules
from otflow.decorators import step
from otflow.retry_policy import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    RetryPolicy,
    retry_if_exception_message,
    retry_never,
    retry_policy,
    stop_after_attempt,
    stop_after_delay,
    stop_never,
    wait_exponential,
    wait_fixed,
    wait_none,
)
from tests.dashboards.pages import order, panels


class Custom:
    def next(self, elapsed_time: float, attempts: int, error: Exception) -> float | None:
        return None if error.response.status == 404 else 1.0


def retries_of(policy: RetryPolicy | None) -> Retries | None:
    """Return what is found out about a retry policy."""

    class Single(Workflow):
        @step(retry_policy=policy)
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    return define(Single().graph, None).steps[0].retries


def test_steps_stand_in_the_order_of_events() -> None:
    """Steps come as events reach them, then those that only the outside reaches, then error handlers."""
    assert [each.name for each in order().steps] == ["begin", "pack", "ask", "finish", "rescue"]


def test_steps_say_what_they_declare() -> None:
    """Workers, attempts and error handlers are those of the decorators."""
    found = {each.name: (each.num_workers, each.retries, each.handler, each.catches) for each in order().steps}
    assert found["begin"] == (1, None, "", False)
    assert found["pack"] == (2, Retries(4, 6.0), "rescue", False)
    assert found["rescue"][3]


def test_answers_are_named() -> None:
    """The types by which people answer are known; without any, there is nothing about waits."""

    class Plain(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    assert order().answers == ("Answer",)
    assert define(Plain().graph, 45.0).answers == ()
    titles = [row.title for row in workflow_dashboard(define(Plain().graph, 45.0)).rows]
    assert "Do answers come?" not in titles
    assert "Do answers come?" in [row.title for row in workflow_dashboard(order()).rows]
    assert "OtflowNobodyAnswers" in {getattr(rule, "name", "") for rule in workflow_rules(order()).rules}
    assert "OtflowNobodyAnswers" not in {
        getattr(rule, "name", "") for rule in workflow_rules(define(Plain().graph, 1.0)).rules
    }


@pytest.mark.parametrize(
    ("policy", "retries"),
    [
        (None, None),
        (retry_policy(), Retries(3, 10.0)),
        (retry_policy(wait=wait_none(), stop=stop_after_attempt(1)), Retries(1, 0.0)),
        # which errors it is about is not asked
        (retry_policy(retry_never(), wait_fixed(1), stop_after_attempt(3)), Retries(3, 2.0)),
        (retry_policy(retry_if_exception_message(match="busy"), wait_fixed(2)), Retries(3, 4.0)),
        (retry_policy(wait=wait_exponential(max=4), stop=stop_after_delay(10)), Retries(5, 11.0)),
        (retry_policy(wait=wait_fixed(1), stop=stop_never()), Retries(None, float(MOST_ATTEMPTS))),
        (ConstantDelayRetryPolicy(maximum_attempts=3, delay=2), Retries(4, 6.0)),
        (ExponentialBackoffRetryPolicy(maximum_attempts=3, jitter=False), Retries(3, 3.0)),
        # this one looks for things in the error that are not there
        (Custom(), None),
    ],
)
def test_retry_policies_are_asked(policy: RetryPolicy | None, retries: Retries | None) -> None:
    """A retry policy says itself how many attempts it allows and how long its delays are."""
    assert retries_of(policy) == retries


def test_jitter_gives_the_same_every_time() -> None:
    """Random delays are drawn alike each time, so that files that are kept do not change."""
    found = [retries_of(ExponentialBackoffRetryPolicy()) for _ in range(3)]
    assert len(set(found)) == 1
    assert found[0].attempts == 5


def test_endless_retries_without_timeout_are_remarked() -> None:
    """A step that never gives up in a workflow that never ends is worth a remark."""

    class Endless(Workflow):
        @step(retry_policy=retry_policy(stop=stop_never()))
        async def work(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    said = list(remarks(define(Endless().graph, None)))
    assert len(said) == 2
    assert said[1] == "Step work may try more than 100 times, and no timeout ends that."


def test_rows_are_the_steps() -> None:
    """The dashboard of a workflow has a row for each step, with what it declares in its heading."""
    titles = [row.title for row in workflow_dashboard(order()).rows]
    assert titles == [
        "Is something wrong?",
        "Do answers come?",
        "1 of 5: begin (1 worker, no retries)",
        "2 of 5: pack (2 workers, up to 4 attempts, failures go to rescue)",
        "3 of 5: ask (4 workers, no retries)",
        "4 of 5: finish (4 workers, no retries)",
        "5 of 5: rescue (1 worker, no retries, takes over failures)",
    ]


def test_timeout_is_drawn() -> None:
    """Graphs of durations have a line at the timeout and one at four fifths of it, if there is a timeout."""
    for timeout, lines in ((60.0, {(48.0, 60.0)}), (None, {()})):
        page = workflow_dashboard(order(timeout))
        graphs = [panel for panel in panels(page) if panel.title in {"Attempts take", "Duration of runs"}]
        assert len(graphs) == 6
        assert {tuple(threshold.value for threshold in panel.thresholds) for panel in graphs} == lines


@pytest.mark.parametrize(
    ("name", "file"),
    [("Order", "otflow-order"), ("AskFiles", "otflow-ask-files"), ("HTTPServer", "otflow-httpserver")],
)
def test_files_are_called_as_their_workflow(name: str, file: str) -> None:
    """A workflow finds its files by its name."""
    assert file_name(name) == file


def test_files_of_two_workflows_are_two() -> None:
    """Workflows with names that look alike, are long, or have no letters have files of their own."""
    names = [
        "Order",
        "order ",
        "Order!",
        "ORDER/1",
        "ORDER-1",
        "ORDER 1",
        "命令",
        "命令二",
        "x" * 60,
        "x" * 61,
        "-",
        "",
    ]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert [
        file for file in files if len(file) > 40 or not set(file) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    ] == []
