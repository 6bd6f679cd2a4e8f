"""Runs are read back from the real servers by their URLs, as they went in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import pytest

import otflow
from otflow.errors import ReaderError
from otflow.readers import Execution, Source, read_all
from otflow.readers import jaeger as jaeger_reader
from otflow.readers import phoenix as phoenix_reader
from otflow.records.execution import from_records
from stack.servers import Collector, Jaeger, Phoenix
from tests.integration.readback.seen import Told, tell
from tests.integration.reading import unique, wait_for
from tests.integration.sending import provider

PROTOCOL = "http/protobuf"
STORIES = ("demo", "order", "outer")


def wanted(told: Told) -> dict[str, Execution]:
    """Give the runs of a story by id."""
    return {each.run_id: each for each in from_records(told.records)}


def all_there(source: Source, told: Told) -> bool:
    """Tell whether all runs of a story can be read whole."""

    def is_there(run: str, execution: Execution) -> bool:
        try:
            return source.run(run).records == execution.records
        except ReaderError:
            return False

    return all(is_there(run, execution) for run, execution in wanted(told).items())


@pytest.fixture(scope="module")
def in_jaeger(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """Tell a story to Jaeger, and return when it can be read."""
    folder = tmp_path_factory.mktemp("jaeger")

    @cache
    def do(story: str) -> Told:
        told = tell(story, jaeger.otlp_http, PROTOCOL, folder)
        wait_for(lambda: all_there(otflow.open(jaeger.url), told))
        return told

    return do


@pytest.fixture(scope="module")
def in_phoenix(phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """Tell a story to Phoenix, and return when it can be read."""
    folder = tmp_path_factory.mktemp("phoenix")

    @cache
    def do(story: str) -> Told:
        told = tell(story, phoenix.url, PROTOCOL, folder)
        wait_for(lambda: all_there(otflow.open(phoenix.url), told))
        return told

    return do


def check(source: Source, told: Told) -> None:
    """See to it that a source lists the runs of a story, and gives them by id and all at once."""
    expected = wanted(told)
    infos = {info.id: info for info in source.runs() if info.id in expected}
    assert infos.keys() == expected.keys()
    for run, execution in expected.items():
        info, found = infos[run], source.run(run)
        assert (info.workflow, info.outcome, info.records) == (
            execution.workflow,
            execution.outcome,
            len(execution.records),
        )
        assert (found.records, found.gaps) == (execution.records, execution.gaps)
        assert source.run(run[:12]) == found
    assert {each.run_id: each for each in read_all(source) if each.run_id in expected} == expected


def trace_of(told: Told, workflow: str) -> str:
    """Give the id of the trace in which the first run of a workflow began."""
    run = told.run(workflow)
    return next(each.trace for each in told.spans.values() if each.attributes["otflow.run.id"] == run)


def runs_in(told: Told, trace: str) -> set[str]:
    """Give the runs of which a span stands in a trace."""
    return {str(each.attributes["otflow.run.id"]) for each in told.spans.values() if each.trace == trace}


@pytest.mark.parametrize("story", STORIES)
def test_jaeger_gives_runs_back(jaeger: Jaeger, in_jaeger: Callable[[str], Told], story: str) -> None:
    """By the URL of Jaeger its runs are listed and read, those too that stand in the trace of another."""
    check(otflow.open(jaeger.url), in_jaeger(story))


@pytest.mark.parametrize("story", STORIES)
def test_phoenix_gives_runs_back(phoenix: Phoenix, in_phoenix: Callable[[str], Told], story: str) -> None:
    """By the URL of Phoenix its runs are listed and read, in whatever project they stand."""
    check(otflow.open(phoenix.url), in_phoenix(story))


def test_a_span_that_jaeger_cannot_write_hides_no_run(jaeger: Jaeger, in_jaeger: Callable[[str], Told]) -> None:
    """Runs are listed too where a span of others has a number that JSON does not know."""
    told = in_jaeger("order")
    with provider(jaeger.otlp_http, unique("odd")) as made:
        made.get_tracer("test").start_span("", attributes={"nan": float("nan")}).end()
    listed = {info.id for info in otflow.open(jaeger.url).runs()}
    assert wanted(told).keys() <= listed


@pytest.mark.parametrize("page", ["/trace/{}", "/trace/{}?uiFind=x", "/api/traces/{}", "/api/v3/traces/{}"])
def test_a_page_of_jaeger_is_its_trace(jaeger: Jaeger, in_jaeger: Callable[[str], Told], page: str) -> None:
    """The URL of the page of a trace gives the runs of that trace and no other."""
    told = in_jaeger("order")
    trace = trace_of(told, "Order")
    source = otflow.open(jaeger.url + page.format(trace))
    assert {info.id for info in source.runs()} == runs_in(told, trace)
    assert source.run(told.run("Order")).records == wanted(told)[told.run("Order")].records


def test_a_page_of_phoenix_is_its_trace(phoenix: Phoenix, in_phoenix: Callable[[str], Told]) -> None:
    """The URL of the page of a trace gives the runs of that trace, that of a project those of the project."""
    told = in_phoenix("order")
    trace = trace_of(told, "Order")
    page = f"{phoenix.url}/projects/{told.service}"
    assert {info.id for info in otflow.open(page).runs()} == wanted(told).keys()
    source = otflow.open(f"{page}/traces/{trace}")
    assert {info.id for info in source.runs()} == runs_in(told, trace)
    assert source.run(told.run("Order")[:8]).records == wanted(told)[told.run("Order")].records
    linked = otflow.open(f"{phoenix.url}/redirects/traces/{trace}")
    assert {info.id for info in linked.runs()} == runs_in(told, trace)


def test_many_pages_are_read(
    jaeger: Jaeger,
    phoenix: Phoenix,
    in_jaeger: Callable[[str], Told],
    in_phoenix: Callable[[str], Told],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However small the pages of the servers are, all runs are found."""
    monkeypatch.setattr(jaeger_reader, "_PAGE", 2)
    monkeypatch.setattr(phoenix_reader, "_PAGE", 3)
    check(otflow.open(jaeger.url), in_jaeger("order"))
    check(otflow.open(phoenix.url), in_phoenix("order"))


def test_the_file_of_the_collector_gives_runs_back(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file that the collector writes holds the runs, while it is written."""
    told = tell("demo", collector.otlp_http, PROTOCOL, tmp_path_factory.mktemp("collector"))
    expected = wanted(told)

    found = wait_for(lambda: read_whole(collector, expected))
    listed = {info.id: info for info in otflow.open(collector.archive).runs()}
    for run, execution in expected.items():
        assert (listed[run].outcome, listed[run].records) == (execution.outcome, len(execution.records))
        masked(found[run], execution)


def read_whole(collector: Collector, runs: Iterable[str]) -> dict[str, Execution] | None:
    """Read runs from the file of a collector; None as long as not all of them are there."""
    try:
        found = {run: otflow.open(collector.archive).run(run) for run in runs}
    except ReaderError:
        return None
    return found if all(execution.complete for execution in found.values()) else None


def masked(found: Execution, expected: Execution) -> list[int]:
    """Return the records that the collector changed; each has to be named, and all others as they were."""
    pairs = zip(found.records, expected.records, strict=True)
    changed = [one.seq for one, other in pairs if one != other]
    assert {*changed} <= {loss.first for loss in found.losses if "masked" in loss.reason}
    return changed


def test_what_the_collector_masks_is_a_loss(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A payload that the collector changed is named; all other records are as they were."""
    told = tell("order", collector.otlp_http, PROTOCOL, tmp_path_factory.mktemp("masked"))
    run = told.run("Order")
    found = wait_for(lambda: read_whole(collector, [run]))
    assert masked(found[run], wanted(told)[run])


@pytest.mark.parametrize("where", ["/trace/" + "ab" * 16, "/search"])
def test_what_is_not_there_is_said(jaeger: Jaeger, where: str) -> None:
    """A trace or a run that Jaeger does not have is an error that names it."""
    with pytest.raises(ReaderError, match=r"has no trace abab|There is no run 'no-such-run'"):
        otflow.open(jaeger.url + where).run("no-such-run")


def test_what_phoenix_does_not_have_is_said(phoenix: Phoenix) -> None:
    """A project or a run that Phoenix does not have is an error that names it."""
    with pytest.raises(ReaderError, match="There is no run 'no-such-run'"):
        otflow.open(phoenix.url).run("no-such-run")
    with pytest.raises(ReaderError, match="has no project 'nobody'"):
        list(otflow.open(f"{phoenix.url}/projects/nobody").runs())


def test_other_servers_are_refused(collector: Collector) -> None:
    """A server that is neither a Jaeger nor a Phoenix is told so."""
    with pytest.raises(ReaderError, match="neither a Jaeger nor a Phoenix"):
        otflow.open(collector.metrics)
