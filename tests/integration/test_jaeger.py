"""Runs that otflow's own pipeline sends to a real Jaeger are there, whole, by both its query interfaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from stack.servers import Jaeger
from tests.integration.readback import jaeger as adapter
from tests.integration.readback.seen import Seen, Told, of_runs, records_of, tell
from tests.integration.reading import read_json, tags, wait_for

PROTOCOLS = ("http/protobuf", "grpc")
TYPES = {str: "string", bool: "bool", int: "int64", float: "float64", list: "string"}


@pytest.fixture(scope="module")
def send(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Told]:
    """Send a story, once for each protocol, and return when all of it can be read."""
    folder = tmp_path_factory.mktemp("jaeger")

    @cache
    def do(story: str, protocol: str) -> Told:
        told = tell(story, jaeger.otlp_grpc if protocol == "grpc" else jaeger.otlp_http, protocol, folder)
        wait_for(lambda: told.spans.keys() <= by_older(jaeger, told).keys())
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


def traces(told: Told) -> set[str]:
    """Give the ids of the traces that were sent."""
    return {each.trace for each in told.spans.values()}


def older(jaeger: Jaeger, told: Told) -> list[dict]:
    """Give all traces as the older interface tells them."""
    return [found for trace in sorted(traces(told)) for found in adapter.read(jaeger, trace)]


def by_older(jaeger: Jaeger, told: Told) -> dict[str, Seen]:
    """Give the spans of runs that the older interface knows."""
    return of_runs(span for trace in older(jaeger, told) for span in adapter.show(trace))


def by_newer(jaeger: Jaeger, told: Told) -> dict[str, Seen]:
    """Give the spans of runs that the newer interface knows."""
    return of_runs(span for trace in traces(told) for span in adapter.show_v3(adapter.read_v3(jaeger, trace)))


def in_order(told: Told) -> list[object]:
    """Give the records as readers give them."""
    return sorted(told.records, key=lambda record: (record.run, record.seq))


def test_the_newer_interface_tells_what_was_sent(jaeger: Jaeger, told: Told) -> None:
    """To the nanosecond, every span has its name, parent, times, status, exception, links and all its attributes."""
    assert by_newer(jaeger, told) == {span: adapter.blur_v3(sent) for span, sent in told.spans.items()}


def test_the_older_interface_tells_what_was_sent(jaeger: Jaeger, told: Told) -> None:
    """In microseconds, every span has its name, references, duration, error, exception and all its attributes."""
    assert by_older(jaeger, told) == {span: adapter.blur(sent) for span, sent in told.spans.items()}


@pytest.mark.parametrize("read", [by_older, by_newer], ids=["older", "newer"])
def test_records_come_back(jaeger: Jaeger, told: Told, read: Callable[[Jaeger, Told], dict[str, Seen]]) -> None:
    """The spans that Jaeger gives back say exactly the records of the runs."""
    assert records_of(read(jaeger, told).values()) == in_order(told)


def test_a_search_finds_all(jaeger: Jaeger, told: Told) -> None:
    """Asked for a service, both interfaces give its traces whole."""
    found = of_runs(adapter.show_v3(adapter.find_v3(jaeger, told.service)))
    assert found == by_newer(jaeger, told)
    assert adapter.find(jaeger, told.service) >= traces(told)


def test_tags_have_types(jaeger: Jaeger, told: Told) -> None:
    """Numbers, truths and texts stay what they are; arrays become JSON."""
    for trace in older(jaeger, told):
        for span in trace["spans"]:
            types = {tag["key"]: tag["type"] for tag in span["tags"]}
            sent = told.spans[span["spanID"].zfill(16)]
            assert {key: types[key] for key in sent.attributes} == {
                key: TYPES[type(value)] for key, value in sent.attributes.items()
            }


def test_errors_are_tagged(jaeger: Jaeger, told: Told) -> None:
    """Just what failed has the tags by which Jaeger colours it red; no pause, no wait, nothing that is put aside."""
    for trace in older(jaeger, told):
        for span in trace["spans"]:
            found, sent = tags(span), told.spans[span["spanID"].zfill(16)]
            assert (found.get("error", False), "otel.status_code" in found) == (sent.error, sent.error)
            if sent.error:
                assert (found["otel.status_code"], found["otel.status_description"]) == ("ERROR", sent.message)
                [log] = span["logs"]
                fields = {each["key"]: each["value"] for each in log["fields"]}
                assert (fields["event"], fields["exception.type"]) == ("exception", sent.attributes["error.type"])


def test_causes_are_references(jaeger: Jaeger, order: Told) -> None:
    """What an attempt took up comes after what emitted it: by hand, the ways of the events of the story."""
    found = by_older(jaeger, order)

    def causes(span: Seen) -> list[str]:
        return sorted(found[link].name for _, link in span.links if link in found)

    def named(name: str) -> list[Seen]:
        return sorted((each for each in found.values() if each.name == name), key=lambda each: each.start)

    ends = {each.attributes["otflow.attempt"]: causes(each) for each in named("step price") if each.links}
    assert ends == {1: ["step split"], 2: ["step price", "step split"], 3: ["step price", "step split"]}
    assert [causes(each) for each in named("step join")][-1] == ["step price"] * 3
    assert [causes(each) for each in named("step decide")] == [[], ["step decide"]]
    assert [causes(each) for each in named("step end")] == [["step decide"]]
    assert {*map(tuple, map(causes, named("invoke_workflow Order")[1:]))} == {("invoke_workflow Order",)}


def test_a_link_takes_the_place_of_the_parent(jaeger: Jaeger, order: Told) -> None:
    """The segment after the first has the first one for parent and link; the older interface tells only one of them.

    So whoever reads it takes the parent from `FOLLOWS_FROM` where there is no `CHILD_OF`.
    """
    [first, second, *_] = order.named("invoke_workflow Order")
    assert second.parent == first.span
    [span] = [each for trace in older(jaeger, order) for each in trace["spans"] if each["spanID"] == second.span]
    assert [(each["refType"], each["spanID"]) for each in span["references"]] == [("FOLLOWS_FROM", first.span)]
    assert by_newer(jaeger, order)[second.span].parent == first.span


def test_who_answered_is_linked(jaeger: Jaeger, order: Told) -> None:
    """The span in which an answer was sent stands in another trace, and what took the answer refers to it."""
    first = order.named("step decide")[0]
    [(trace, span)] = first.links
    assert trace != first.trace
    [found] = adapter.show(*adapter.read(jaeger, trace))
    assert (found.name, found.span) == ("answer the phone", span)
    assert (trace, span) in by_older(jaeger, order)[first.span].links


def test_runs_are_found_by_tags(jaeger: Jaeger, order: Told) -> None:
    """The id of a run, a session, an outcome, a step or an error leads to its trace, and to no other."""
    by_name = {name: order.named(f"invoke_workflow {name}")[0].trace for name in ("Order", "Broken")}
    both = {*by_name.values()}

    def find(**wanted: object) -> set[str]:
        return adapter.find(jaeger, order.service, **{key.replace("__", "."): value for key, value in wanted.items()})

    for name, trace in by_name.items():
        assert find(otflow__run__id=order.run(name)) == {trace}
    assert find(otflow__run__id=order.run("Audit")) == {by_name["Order"]}
    assert find(session__id=f"session-{order.service}") == both
    assert find(user__id="ada") == both
    assert find(otflow__outcome="waiting") == {by_name["Order"]}
    assert find(otflow__step__name="work", otflow__attempt=2) == {by_name["Broken"]}
    assert find(otflow__retry__exhausted=True) == {by_name["Broken"]}
    assert find(error=True) == both
    assert find(error__type="builtins.ValueError") == {by_name["Broken"]}
    assert find(otflow__run__id="no-such-run") == set()


def test_the_process_is_the_service(jaeger: Jaeger, told: Told) -> None:
    """Service and resource of the program are those of its spans, and the scope says who made them."""
    for trace in older(jaeger, told):
        [process] = trace["processes"].values()
        resource = {tag["key"]: tag["value"] for tag in process["tags"]}
        assert process["serviceName"] == resource["openinference.project.name"] == told.service
        assert resource["telemetry.sdk.name"] == "opentelemetry"
        assert all(tags(span)["otel.scope.name"] == "otflow" for span in trace["spans"])
    operations = read_json(f"{jaeger.url}/api/services/{told.service}/operations")["data"]
    assert {each.name for each in told.spans.values()} <= set(operations)


def test_no_secret_arrives(jaeger: Jaeger, order: Told) -> None:
    """What looks like a secret was hidden before it left the process."""
    shown = json.dumps(older(jaeger, order))
    assert "hunter2" not in shown
    assert "__REDACTED__" in shown
