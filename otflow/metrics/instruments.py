"""The instruments: every metric that otflow has, with its unit, its labels, its buckets and its meaning.

Names are an interface: dashboards, alerts and other people's queries stand on them. No label ever holds an id, a
message or anything else of which there is no end; those that come from users' code are bounded by
`otflow.metrics.cells`. This room knows names only: neither how they are counted nor who asks for them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from otflow.records.semconv import ERROR_TYPE, GEN_AI_WORKFLOW_NAME, OUTCOME, STEP_NAME, WORKFLOW_NAME

__all__ = [
    "BY_NAME",
    "DISPOSITIONS",
    "INSTRUMENTS",
    "LABELS",
    "OPT_IN",
    "OTHER",
    "Instrument",
    "Kind",
    "attributes_of",
    "label_name",
    "prometheus_name",
    "read_opt_in",
]

Kind: TypeAlias = Literal["histogram", "counter", "gauge"]
"""What an instrument does: spreads values over buckets, counts up, or says how many there are now.

A gauge is an UpDownCounter in the terms of OpenTelemetry: the values of several processes may be added up.
"""

OPT_IN = "gen_ai_latest_experimental"
"""What has to stand in OTEL_SEMCONV_STABILITY_OPT_IN for the instruments of a convention that is not stable yet."""

OTHER = "_OTHER"
"""The value of a label when there are too many different ones."""

RETRY = "otflow.retry"
EVENT_TYPE = "otflow.event.type"
DISPOSITION = "otflow.disposition"
STORE = "otflow.store"
SINK = "otflow.sink"
REASON = "otflow.reason"

EMITTED = "emitted"
UNHANDLED = "unhandled"
STREAMED = "streamed"

DISPOSITIONS: dict[str, str] = {
    EMITTED: "A step emitted it, or it came in from outside.",
    UNHANDLED: "It was emitted, no step accepts its type, and nothing waited for it. It counts as emitted too.",
    STREAMED: "It was written to the stream.",
}
"""What became of an event, by `otflow.disposition`."""

LABELS: dict[str, str] = {
    WORKFLOW_NAME: "The name of the workflow. At most 200 different ones, then `_OTHER`.",
    GEN_AI_WORKFLOW_NAME: "The name of the workflow, under the name that the GenAI conventions have for it.",
    STEP_NAME: "The name of the step. At most 200 different ones in a workflow, then `_OTHER`.",
    OUTCOME: "How the run or the attempt ended: `ok`, `error`, `timeout`, `cancelled`; an attempt also `buffered`.",
    ERROR_TYPE: "The qualified name of the exception's class; absent unless something failed. At most 50 different "
    "ones, then `_OTHER`.",
    RETRY: "Whether the attempt is not the first of its invocation: `true`, `false`.",
    EVENT_TYPE: "The type of the event, written module:Class. At most 200 different ones, then `_OTHER`.",
    DISPOSITION: "What became of the event: `emitted`, `unhandled`, `streamed`.",
    STORE: "The kind of store that the checkpoint went to.",
    SINK: "What dropped the records, for instance `spans`.",
    REASON: "Why they were dropped, for instance `queue_full`.",
}
"""The labels and what they mean, by the name that they have in OpenTelemetry."""


class Instrument(msgspec.Struct, frozen=True):
    """One metric.

    Attributes:
        name: its name in OpenTelemetry; `prometheus_name` gives the other one.
        kind: what it does.
        unit: "s", "By", or what it counts in braces; in the notation of UCUM.
        labels: the names of its labels, in order.
        description: what it means, in a sentence.
        buckets: the upper bounds of its buckets, in its unit, without infinity; of a histogram.
        opt_in: what has to be asked for in OTEL_SEMCONV_STABILITY_OPT_IN; "" for nothing.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()
    opt_in: str = ""


_OF_RUN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_OF_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OF_QUEUE = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)
_OF_FIRST = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OF_PEOPLE = (1, 10, 60, 300, 1800, 3600, 21600, 86400, 604800)
_OF_GEN_AI = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_OF_STORE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_OF_SIZE = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)

RUN_DURATION = Instrument(
    "otflow.run.duration",
    "histogram",
    "s",
    (WORKFLOW_NAME, OUTCOME, ERROR_TYPE),
    "The time for which a run was active, when it has ended. The time for which it was paused does not count.",
    _OF_RUN,
)
GEN_AI_DURATION = Instrument(
    "gen_ai.workflow.duration",
    "histogram",
    "s",
    (GEN_AI_WORKFLOW_NAME, ERROR_TYPE),
    "The same as otflow.run.duration, under the name of the GenAI conventions.",
    _OF_GEN_AI,
    OPT_IN,
)
STEP_DURATION = Instrument(
    "otflow.step.duration",
    "histogram",
    "s",
    (WORKFLOW_NAME, STEP_NAME, OUTCOME, ERROR_TYPE, RETRY),
    "The time from the start of an attempt to its end, one observation for each attempt. The time for which the run "
    "was paused does not count.",
    _OF_STEP,
)
QUEUE_DURATION = Instrument(
    "otflow.step.queue.duration",
    "histogram",
    "s",
    (WORKFLOW_NAME, STEP_NAME),
    "The time that an attempt waited for a worker: from the emission of its event, or from the end of the retry delay, "
    "to its start.",
    _OF_QUEUE,
)
FIRST_EVENT = Instrument(
    "otflow.run.time_to_first_event",
    "histogram",
    "s",
    (WORKFLOW_NAME,),
    "The time from the start of a run to the first event in its stream, of runs that write to it.",
    _OF_FIRST,
)
HITL_WAIT = Instrument(
    "otflow.hitl.wait.duration",
    "histogram",
    "s",
    (WORKFLOW_NAME, EVENT_TYPE),
    "The time that a run waited for an event from outside, in this process, when the wait is over.",
    _OF_PEOPLE,
)
STEP_ACTIVE = Instrument(
    "otflow.step.active",
    "gauge",
    "{invocation}",
    (WORKFLOW_NAME, STEP_NAME),
    "How many invocations hold a worker of the step now, those that wait for an event included.",
)
STEP_QUEUED = Instrument(
    "otflow.step.queued",
    "gauge",
    "{invocation}",
    (WORKFLOW_NAME, STEP_NAME),
    "How many invocations wait for a worker of the step now.",
)
STEP_WORKERS = Instrument(
    "otflow.step.workers",
    "gauge",
    "{worker}",
    (WORKFLOW_NAME, STEP_NAME),
    "How many workers the step has now: its num_workers, for each run that goes on.",
)
RUN_ACTIVE = Instrument(
    "otflow.run.active",
    "gauge",
    "{run}",
    (WORKFLOW_NAME,),
    "How many runs have begun in this process, have not ended and are not paused.",
)
RUN_WAITING = Instrument(
    "otflow.run.waiting",
    "gauge",
    "{run}",
    (WORKFLOW_NAME,),
    "How many runs are paused in this process: they wait for an event, a retry delay or their caller.",
)
STEP_RETRIES = Instrument(
    "otflow.step.retries",
    "counter",
    "{retry}",
    (WORKFLOW_NAME, STEP_NAME, ERROR_TYPE),
    "How often another attempt was scheduled after one that failed, by what it failed with.",
)
STEP_EXHAUSTED = Instrument(
    "otflow.step.retries_exhausted",
    "counter",
    "{retry}",
    (WORKFLOW_NAME, STEP_NAME, ERROR_TYPE),
    "How often an attempt failed that was not the first, and no other came after it.",
)
EVENTS = Instrument(
    "otflow.events",
    "counter",
    "{event}",
    (WORKFLOW_NAME, EVENT_TYPE, DISPOSITION),
    "How many events there were.",
)
STATE_WRITES = Instrument(
    "otflow.state.writes",
    "counter",
    "{write}",
    (WORKFLOW_NAME,),
    "How often the state of a run was written.",
)
CHECKPOINT_DURATION = Instrument(
    "otflow.checkpoint.duration",
    "histogram",
    "s",
    (WORKFLOW_NAME, STORE),
    "The time that it took to save a run.",
    _OF_STORE,
)
CHECKPOINT_SIZE = Instrument(
    "otflow.checkpoint.size",
    "histogram",
    "By",
    (WORKFLOW_NAME, STORE),
    "How large the saved data of a run was.",
    _OF_SIZE,
)
TELEMETRY_DROPPED = Instrument(
    "otflow.telemetry.dropped",
    "counter",
    "{record}",
    (SINK, REASON),
    "How many records, spans or log lines were lost on their way out of the process.",
)

INSTRUMENTS: tuple[Instrument, ...] = (
    RUN_DURATION,
    GEN_AI_DURATION,
    STEP_DURATION,
    QUEUE_DURATION,
    FIRST_EVENT,
    HITL_WAIT,
    STEP_ACTIVE,
    STEP_QUEUED,
    STEP_WORKERS,
    RUN_ACTIVE,
    RUN_WAITING,
    STEP_RETRIES,
    STEP_EXHAUSTED,
    EVENTS,
    STATE_WRITES,
    CHECKPOINT_DURATION,
    CHECKPOINT_SIZE,
    TELEMETRY_DROPPED,
)
"""All of them."""

BY_NAME: dict[str, Instrument] = {instrument.name: instrument for instrument in INSTRUMENTS}
"""All of them, by name."""


def read_opt_in(text: str) -> frozenset[str]:
    """Read what OTEL_SEMCONV_STABILITY_OPT_IN says: names between commas."""
    return frozenset(name.strip() for name in text.split(","))


def attributes_of(instrument: Instrument, labels: tuple[str, ...]) -> dict[str, str | bool]:
    """Return the labels of a series as attributes in OpenTelemetry.

    Args:
        instrument: the instrument.
        labels: the values of its labels, in order; "" for one that is absent.
    """
    pairs = zip(instrument.labels, labels, strict=True)
    return {name: value == "true" if name == RETRY else value for name, value in pairs if value}


_SUFFIXES = {"s": "_seconds", "By": "_bytes"}


def prometheus_name(instrument: Instrument) -> str:
    """Return the name in Prometheus: of a counter with `_total`, of a histogram without `_bucket` and its like.

    Example:
        >>> prometheus_name(BY_NAME["otflow.step.duration"]), prometheus_name(BY_NAME["otflow.step.retries"])
        ('otflow_step_duration_seconds', 'otflow_step_retries_total')
    """
    name = label_name(instrument.name) + _SUFFIXES.get(instrument.unit, "")
    return f"{name}_total" if instrument.kind == "counter" else name


def label_name(label: str) -> str:
    """Return the name of a label in Prometheus.

    Example:
        >>> label_name("otflow.workflow.name")
        'otflow_workflow_name'
    """
    return label.replace(".", "_")
