"""Runs that otflow's own pipeline sends to a real Phoenix are there, whole, in all that Phoenix answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest

from stack.servers import Phoenix
from tests.integration.readback.phoenix import blur, read_project, read_spans, show
from tests.integration.readback.seen import Seen, Told, of_runs, records_of, tell
from tests.integration.reading import read_json, read_phoenix, wait_for

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture(scope="module")
def send(phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Told]:
    """Send a story, once for each protocol, and return when all of it can be read."""
    folder = tmp_path_factory.mktemp("phoenix")

    @cache
    def do(story: str, protocol: str) -> Told:
        told = tell(story, phoenix.otlp_grpc if protocol == "grpc" else phoenix.url, protocol, folder)
        wait_for(lambda: told.spans.keys() <= by_rest(phoenix, told).keys())
        return told

    return do


@pytest.fixture(params=[(story, protocol) for story in ("demo", "order") for protocol in PROTOCOLS], ids="-".join)
def told(request: pytest.FixtureRequest, send: Callable[[str, str], Told]) -> Told:
    """Give each of the stories, as it was sent by each of the protocols."""
    return send(*request.param)


@pytest.fixture
def order(send: Callable[[str, str], Told]) -> Told:
    """Give the long story."""
    return send("order", PROTOCOLS[0])


def by_rest(phoenix: Phoenix, told: Told) -> dict[str, Seen]:
    """Give the spans of runs that the REST interface knows."""
    return of_runs(map(show, read_phoenix(phoenix, told.service)))


def check(found: dict[str, Seen], told: Told) -> None:
    """See to it that spans are as they were sent, as far as Phoenix can know."""
    assert {span: blur(seen) for span, seen in found.items()} == {span: blur(sent) for span, sent in told.spans.items()}
    for span, sent in told.spans.items():
        times = [(sent.start, found[span].start), (sent.end, found[span].end)]
        times += [(one[1], other[1]) for one, other in zip(sent.events, found[span].events, strict=True)]
        assert all(abs(one - other) <= 1000 for one, other in times), (sent, found[span])


def test_spans_are_as_they_were_sent(phoenix: Phoenix, told: Told) -> None:
    """By REST, every span has its name, its parent, its kind, its status, its exception and all its attributes."""
    check(by_rest(phoenix, told), told)


def test_records_come_back(phoenix: Phoenix, told: Told) -> None:
    """The spans that Phoenix gives back say exactly the records of the runs."""
    want = sorted(told.records, key=lambda record: (record.run, record.seq))
    assert records_of(by_rest(phoenix, told).values()) == want


def test_graphql_tells_the_same(phoenix: Phoenix, told: Told) -> None:
    """By GraphQL, from which its pages are made, the spans are the same; what goes in and out is known to be JSON."""
    project = read_project(phoenix, told.service)
    check(of_runs(read_spans(project)), told)
    for span in project["spans"]:
        sent = told.spans.get(span["spanId"])
        if sent is None:
            continue
        assert span["spanKind"] == "chain"
        for name in ("input", "output"):
            value = sent.attributes.get(f"{name}.value")
            assert span[name] == (None if value is None else {"value": value, "mimeType": "json"})
        assert span["numChildSpans"] == sum(each.parent == sent.span for each in told.spans.values())
        assert [each["message"] for each in span["events"]] == [sent.message] * sent.error


def test_traces_have_one_root(phoenix: Phoenix, told: Told) -> None:
    """Every trace has the first segment of its run as its root, and counts its spans and errors."""
    spans = [each for each in read_project(phoenix, told.service)["spans"] if each["spanId"] in told.spans]
    assert spans
    for span in spans:
        trace = span["trace"]
        same = [each for each in told.spans.values() if each.trace == trace["traceId"]]
        root = told.spans[trace["rootSpan"]["spanId"]]
        assert (root.parent, root.attributes["otflow.segment"]) == ("", 0)
        assert (trace["numSpans"], trace["errorCount"]) == (len(same), sum(each.error for each in same))


def test_the_story_can_be_followed(phoenix: Phoenix, order: Told) -> None:
    """What is written here by hand is what stands in Phoenix: which span stands under which, and how each ended."""
    found = by_rest(phoenix, order)

    def above(span: Seen) -> str:
        return found[span.parent].name if span.parent else ""

    steps = [each for each in found.values() if each.name.startswith("step ")]
    assert Counter((above(each), each.name, each.attributes["otflow.outcome"]) for each in steps) == {
        ("invoke_workflow Order", "step split", "ok"): 1,
        ("invoke_workflow Order", "step price", "error"): 2,
        ("invoke_workflow Order", "step price", "ok"): 3,
        ("invoke_workflow Order", "step join", "buffered"): 2,
        ("invoke_workflow Order", "step join", "ok"): 1,
        ("invoke_workflow Audit", "step add_up", "ok"): 1,
        ("invoke_workflow Order", "step decide", "waiting"): 1,
        ("invoke_workflow Order", "step decide", "ok"): 1,
        ("invoke_workflow Order", "step end", "ok"): 1,
        ("invoke_workflow Broken", "step work", "error"): 2,
    }
    [audit] = [each for each in found.values() if each.name == "invoke_workflow Audit"]
    assert above(audit) == "step join"
    segments = [each for each in found.values() if each.name in {"invoke_workflow Order", "invoke_workflow Broken"}]
    assert {(above(each), each.name) for each in segments} == {
        ("", "invoke_workflow Order"),
        ("invoke_workflow Order", "invoke_workflow Order"),
        ("", "invoke_workflow Broken"),
        ("invoke_workflow Broken", "invoke_workflow Broken"),
    }
    assert [each.name for each in found.values() if each.error and each.name.startswith("invoke")] == [
        "invoke_workflow Broken"
    ]


def test_other_spans_stand_beside(phoenix: Phoenix, order: Told) -> None:
    """A span of the user's own, in which an answer was sent, went the same way and stands in a trace of its own."""
    spans = map(show, read_phoenix(phoenix, order.service))
    [answer] = [each for each in spans if each.name == "answer the phone"]
    assert (answer.parent, answer.attributes) == ("", {"openinference.span.kind": "UNKNOWN"})
    [decide, _] = order.named("step decide")
    assert (answer.trace, answer.span) in decide.links


def test_no_secret_arrives(phoenix: Phoenix, order: Told) -> None:
    """What looks like a secret was hidden before it left the process."""
    shown = json.dumps(read_phoenix(phoenix, order.service))
    assert "hunter2" not in shown
    assert "__REDACTED__" in shown


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sessions(phoenix: Phoenix, send: Callable[[str, str], Told], protocol: str) -> None:
    """The view of sessions has the session of the runs with all their traces, their user, and what began it."""
    order = send("order", protocol)
    session = f"session-{order.service}"
    traces = {each.trace for each in order.spans.values()}
    [found] = read_json(f"{phoenix.url}/v1/projects/{order.service}/sessions")["data"]
    assert found["session_id"] == session
    assert {each["trace_id"] for each in found["traces"]} == traces
    project = read_project(phoenix, order.service)
    [found] = project["sessions"]
    assert (found["sessionId"], found["userId"], found["numTraces"]) == (session, "ada", 2)
    assert {each["traceId"] for each in found["traces"]} == traces
    assert json.loads(found["firstInput"]["value"])["wares"] == ["tea", "cup", "pot"]
    for span in project["spans"]:
        if span["name"].startswith("invoke_workflow"):
            assert (span["userId"], json.loads(span["metadata"])) == ("ada", {"plan": "pro", "seats": 3})


def test_a_called_run_belongs_to_its_caller(phoenix: Phoenix, send: Callable[[str, str], Told]) -> None:
    """Phoenix takes the first session that it hears of for the whole trace: it is that of the run which began it."""
    told = send("outer", PROTOCOLS[0])
    [session] = wait_for(partial(read_json, f"{phoenix.url}/v1/projects/{told.service}/sessions"))["data"]
    assert session["session_id"] == told.run("Outer") != told.run("Audit")


def test_the_project_is_the_one_that_was_named(phoenix: Phoenix, told: Told) -> None:
    """The project is named by a resource attribute, and has every trace that was sent."""
    found = read_json(f"{phoenix.url}/v1/projects/{told.service}/traces", limit="100")["data"]
    assert {each.trace for each in told.spans.values()} <= {each["trace_id"] for each in found}


def test_a_run_is_found_by_its_id(phoenix: Phoenix, order: Told) -> None:
    """The spans of one run among others can be asked for by the id of the run."""
    run = order.run("Broken")
    query = {"attribute": f"otflow.run.id:{run}", "limit": "100"}
    found = read_json(f"{phoenix.url}/v1/projects/{order.service}/spans", **query)["data"]
    assert {each["context"]["span_id"] for each in found} == {
        span for span, sent in order.spans.items() if sent.attributes["otflow.run.id"] == run
    }


def test_errors_are_told_apart(phoenix: Phoenix, told: Told, tmp_path: Path) -> None:
    """Asked for errors, Phoenix gives the attempts and runs that failed: no pause, no wait and no buffering is one."""
    found = read_json(f"{phoenix.url}/v1/projects/{told.service}/spans", status_code="ERROR", limit="1000")["data"]
    assert {each["context"]["span_id"] for each in found} == {each.span for each in told.spans.values() if each.error}
    assert {each["attributes"]["otflow.outcome"] for each in found} == {"error"}
