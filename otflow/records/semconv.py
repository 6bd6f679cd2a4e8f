"""The names of a trace: every span, attribute, link kind and outcome that otflow writes, each with its meaning.

Names are an interface: dashboards, readers and other people's queries stand on them. Keys without the `otflow.` prefix
belong to a convention that others define (OpenTelemetry, its GenAI part, OpenInference). No key is the beginning of
another one, up to a dot, because some backends build nested objects from dotted keys.

This room knows names only; which span carries which of them is known by `otflow.records.part`.
"""

from __future__ import annotations

__all__ = ["ATTRIBUTES", "EVENTS", "LINKS", "OUTCOMES", "SCOPE", "SPANS"]

SCOPE = "otflow"
"""The instrumentation scope of all spans."""

SEGMENT_SPAN = "invoke_workflow"
STEP_SPAN = "step"
RUN_STARTED_SPAN = "run_started"
STEP_STARTED_SPAN = "step_started"
RUN_RECORDS_SPAN = "run_records"
STEP_RECORDS_SPAN = "step_records"

SPANS: dict[str, str] = {
    f"{SEGMENT_SPAN} {{workflow}}": "One segment of a run: from its start, or where it goes on, to its end or pause.",
    f"{STEP_SPAN} {{step}}": "One attempt of a step, or the part of it that lies in one segment.",
    f"{RUN_STARTED_SPAN} {{workflow}}": "A marker of no length: the segment above it is open for 5 seconds by now.",
    f"{STEP_STARTED_SPAN} {{step}}": "A marker of no length: the attempt above it is open for 5 seconds by now.",
    f"{RUN_RECORDS_SPAN} {{workflow}}": "Records of the segment above it, for which there was no room there.",
    f"{STEP_RECORDS_SPAN} {{step}}": "Records of the attempt above it, for which there was no room there.",
}
"""Span names, with the variable part in braces."""

SPAN_KIND = "openinference.span.kind"
INPUT_VALUE = "input.value"
INPUT_MIME_TYPE = "input.mime_type"
OUTPUT_VALUE = "output.value"
OUTPUT_MIME_TYPE = "output.mime_type"
SESSION_ID = "session.id"
USER_ID = "user.id"
METADATA = "metadata"
TAGS = "tag.tags"
OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name"
CONVERSATION_ID = "gen_ai.conversation.id"
ERROR_TYPE = "error.type"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"
RUN_ID = "otflow.run.id"
PARENT_RUN_ID = "otflow.parent.run.id"
ORIGIN_RUN_ID = "otflow.origin.run.id"
ORIGIN_SEQ = "otflow.origin.seq"
WORKFLOW_NAME = "otflow.workflow.name"
STEP_NAME = "otflow.step.name"
SEGMENT = "otflow.segment"
BRANCH = "otflow.branch"
SEQ_START = "otflow.seq.start"
SEQ_END = "otflow.seq.end"
SEQ_LAST = "otflow.seq.last"
INVOCATION_ID = "otflow.invocation.id"
ATTEMPT = "otflow.attempt"
OUTCOME = "otflow.outcome"
IN_IDS = "otflow.in.ids"
IN_TYPES = "otflow.in.types"
IN_COUNT = "otflow.in.count"
OUT_IDS = "otflow.out.ids"
OUT_TYPES = "otflow.out.types"
OUT_TARGETS = "otflow.out.targets"
OUT_COUNT = "otflow.out.count"
QUEUE_DURATION = "otflow.queue.duration"
WAIT_DURATION = "otflow.wait.duration"
RETRY_DELAY = "otflow.retry.delay"
RETRY_EXHAUSTED = "otflow.retry.exhausted"
STATE_KEYS = "otflow.state.keys"
STATE_WRITES = "otflow.state.writes"
STREAM_WRITES = "otflow.stream.writes"
GRAPH_HASH = "otflow.graph.hash"
RECORDS = "otflow.records"
OMITTED = "otflow.omitted"
PAYLOAD_TRUNCATED = "otflow.payload.truncated"
PAYLOAD_IN_REF = "otflow.payload.in.ref"
PAYLOAD_OUT_REF = "otflow.payload.out.ref"
PAYLOAD_REDACTED_KEYS = "otflow.payload.redacted_keys"
PENDING = "otflow.pending"
LINK_KIND = "otflow.link.kind"
EVENT_ID = "otflow.event.id"

ATTRIBUTES: dict[str, str] = {
    SPAN_KIND: "What the span is for UIs of LLM applications: CHAIN.",
    INPUT_VALUE: "JSON of the event that the step worked on; on a segment, of the first event that came in.",
    INPUT_MIME_TYPE: "application/json, beside input.value.",
    OUTPUT_VALUE: "JSON of the event that the step returned (a list, if several); on a segment, of the stop event.",
    OUTPUT_MIME_TYPE: "application/json, beside output.value.",
    SESSION_ID: "What groups traces of one conversation: the session that the run was tagged with, else the run id. "
    "On segments; not on those of a run that a step started without a session, which belongs to the run of that step.",
    USER_ID: "The user that the run was tagged with. On segments.",
    METADATA: "JSON of the metadata that the run was tagged with. On segments.",
    TAGS: "The tags that the run was tagged with. On segments.",
    CONVERSATION_ID: "The session that the run was tagged with. On segments.",
    OPERATION_NAME: "invoke_workflow. On segments.",
    GEN_AI_WORKFLOW_NAME: "The name of the workflow. On segments.",
    ERROR_TYPE: "The qualified name of the exception's class. On what failed.",
    EXCEPTION_TYPE: "The qualified name of the exception's class. On the span event `exception`.",
    EXCEPTION_MESSAGE: "The text of the exception. On the span event `exception`.",
    EXCEPTION_STACKTRACE: "The stack of the exception. On the span event `exception`.",
    RUN_ID: "The id of the run, by which all its segments are found.",
    PARENT_RUN_ID: "The id of the run whose step started this one. On the first segment.",
    ORIGIN_RUN_ID: "The id of the run whose saved data, or records, this one goes on from. On segments.",
    ORIGIN_SEQ: "The number of the last record of that run which this one goes on from. On segments.",
    WORKFLOW_NAME: "The name of the workflow.",
    STEP_NAME: "The name of the step.",
    SEGMENT: "The number of the segment, from 0; a run that is restored counts on from what was saved.",
    BRANCH: "On a run that was restored from saved data: the number and the time (ns) of the record that restored it, "
    "as number@time. A later branch supersedes the records of earlier ones from that number on.",
    SEQ_START: "The number of the first record in this span.",
    SEQ_END: "The number of the last record in this span.",
    SEQ_LAST: "The number of the last record of the run. On the segment in which it ended.",
    INVOCATION_ID: "The number of the first StepStarted of this invocation, the same for all attempts.",
    ATTEMPT: "The number of the attempt; the first is 1.",
    OUTCOME: "How it ended: see the outcomes.",
    IN_IDS: "The ids of the events that the step took: given, collected, waited for. The first 1000.",
    IN_TYPES: "The types of the events in otflow.in.ids, in the same order; empty where unknown.",
    IN_COUNT: "How many events the step took, when that is more than otflow.in.ids names.",
    OUT_IDS: "The ids of the events that the step emitted. The first 1000.",
    OUT_TYPES: "The types of the events in otflow.out.ids, in the same order.",
    OUT_TARGETS: "The steps that the events in otflow.out.ids are restricted to; left out when none of them is.",
    OUT_COUNT: "How many events the step emitted, when that is more than otflow.out.ids names.",
    QUEUE_DURATION: "Seconds from the event's emission, or from the end of the retry delay, to the start.",
    WAIT_DURATION: "Seconds that the run was paused, on an attempt that goes on after a pause.",
    RETRY_DELAY: "Seconds until the next attempt, on an attempt that failed.",
    RETRY_EXHAUSTED: "True on a failed attempt that is not the first and after which no other comes.",
    STATE_KEYS: "The state paths that were written. The first 32.",
    STATE_WRITES: "How often the state was written.",
    STREAM_WRITES: "How many events were written to the stream.",
    GRAPH_HASH: "The digest of the workflow's step and event table. On segments.",
    RECORDS: "The records of this span as a JSON array; the spans of a run together hold all of them.",
    OMITTED: "How many records of this span are left out of otflow.records, because it would have become too large.",
    PAYLOAD_TRUNCATED: 'True when some payload is cut, or replaced in otflow.records by {"$truncated": bytes}.',
    PAYLOAD_IN_REF: "The name in the payload store of the event in input.value, when it is cut there.",
    PAYLOAD_OUT_REF: "The names in the payload store of the events in output.value, when they are cut there; empty for "
    "one that could not be kept. The first 32.",
    PAYLOAD_REDACTED_KEYS: "The paths in payloads, and in the state, at which a value is hidden. The first 32.",
    PENDING: "True on the markers of what is still open; the span above them follows when it ends.",
    LINK_KIND: "What a link means: see the link kinds. On links.",
    EVENT_ID: "The id of the event that the link stands for. On links.",
}
"""Attribute keys and what they mean."""

CONSUMED = "consumed"
COLLECTED = "collected"
RETRY_OF = "retry_of"
RESUMED_FROM = "resumed_from"
SENT_BY = "sent_by"
FORKED_FROM = "forked_from"

LINKS: dict[str, str] = {
    CONSUMED: "To the span that emitted an event, from the attempt that took it.",
    COLLECTED: "To the span that emitted an event, from the attempt that collected it together with others.",
    RETRY_OF: "To the attempt that failed, from the one that tries again.",
    RESUMED_FROM: "To the segment, or the part of an attempt, that went before a pause.",
    FORKED_FROM: "To a segment of another run, from the first segment of the run that was forked from it.",
    SENT_BY: "To the span, mostly in another trace, in which an event was sent to the run from outside; from the "
    "segment that received it and from the attempt that took it.",
}
"""The kinds of links."""

OK = "ok"
ERROR = "error"
TIMEOUT = "timeout"
CANCELLED = "cancelled"
WAITING = "waiting"
BUFFERED = "buffered"
PAUSED = "paused"
CRASHED = "crashed"

OUTCOMES: dict[str, str] = {
    OK: "The attempt returned; the run came to its stop event.",
    ERROR: "The attempt raised; the run failed.",
    TIMEOUT: "The time of the run was over; the attempt was stopped for that.",
    CANCELLED: "The run was cancelled; the attempt was stopped because the run ended.",
    WAITING: "The attempt waits while the run is paused, and goes on in another span.",
    BUFFERED: "The attempt returned nothing and left its event in a buffer.",
    PAUSED: "The run waits for something outside, and goes on in another segment.",
    CRASHED: "The records stop in the middle: the process ended, or the run was restored elsewhere.",
}
"""How a span ended."""

EXCEPTION_EVENT = "exception"

EVENTS: dict[str, str] = {
    EXCEPTION_EVENT: "What an attempt raised, or what the run failed with.",
}
"""Names of span events."""
