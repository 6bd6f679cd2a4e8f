"""The row of segments of a run: what each says of the run, and to which span each belongs.

It knows where the last segment stood, in this process or in the one in which the run was saved. When segments end is
known by `otflow.records.trace`.
"""

from __future__ import annotations

from otflow.records.identity import Identity, Whereabouts
from otflow.records.part import Common, Part
from otflow.records.plain import Template
from otflow.records.record import About, Record
from otflow.records.semconv import (
    CONVERSATION_ID,
    FORKED_FROM,
    GEN_AI_WORKFLOW_NAME,
    GRAPH_HASH,
    METADATA,
    OPERATION_NAME,
    ORIGIN_RUN_ID,
    ORIGIN_SEQ,
    PARENT_RUN_ID,
    RESUMED_FROM,
    SEGMENT_SPAN,
    SESSION_ID,
    TAGS,
    USER_ID,
)
from otflow.records.span import Value, read_traceparent, write_traceparent

__all__ = ["Segments"]


class Segments:
    """The segments of one run.

    Args:
        common: what all spans of the run have in common.
        identity: the ids under which it stands.

    Attributes:
        graph: the digest of its steps and events.
        parent_run: the run whose step started it.
        about: what its caller says that it belongs to.
        origin: the other run from which it goes on, and the number of the last record of that one which counts.
    """

    __slots__ = ("_anchor", "_common", "_identity", "_last", "_last_trace", "about", "graph", "origin", "parent_run")

    def __init__(self, common: Common, identity: Identity) -> None:
        self.graph = self.parent_run = ""
        self.about: About | None = None
        self.origin = ("", 0)
        self._common = common
        self._identity = identity
        self._anchor = self._last = self._last_trace = 0

    @property
    def name(self) -> str:
        """The name of the segments."""
        return f"{SEGMENT_SPAN} {self._common.workflow}".rstrip()

    def open(self, record: Record) -> Part:
        """Open a segment that begins with a record."""
        common, identity = self._common, self._identity
        common.segment += 1
        fixed: dict[str, Value] = {
            **common.attributes(),
            OPERATION_NAME: SEGMENT_SPAN,
            GEN_AI_WORKFLOW_NAME: common.workflow,
            GRAPH_HASH: self.graph,
        }
        if self.parent_run:  # a trace has one session, the first that a backend hears of: that of the run above
            fixed[PARENT_RUN_ID] = self.parent_run
        else:
            fixed[SESSION_ID] = common.run
        if self.origin[0]:
            fixed[ORIGIN_RUN_ID], fixed[ORIGIN_SEQ] = self.origin
        if self.about is not None:
            fixed.update(_describe(self.about))
        span_id = identity.of_segment(record.seq)
        parent = self._anchor or identity.parent_id
        segment = Part(common, span_id, parent, Template(self.name, fixed), record.seq, record.at, [])
        if self._last:
            left = identity.left
            kind = FORKED_FROM if left is not None and left.forked and not self._anchor else RESUMED_FROM
            segment.more().link(self._last, kind, 0, common.other(self._last_trace))
        self._anchor = self._anchor or span_id
        self._last, self._last_trace = span_id, common.trace_id
        return segment

    def go_on(self) -> None:
        """Go on where the run was left, in another trace or in another process."""
        left = self._identity.left
        if left is not None:
            self._last_trace, self._last, _ = read_traceparent(left.last)
            if not left.forked:
                self._common.segment = left.segment
        self._anchor = self._identity.parent_id

    def locate(self, now: int, flags: int, state: str) -> Whereabouts | None:
        """Say where the run stands; None before its first segment.

        Args:
            now: the time, in nanoseconds since the epoch.
            flags: the flags of its trace.
            state: the W3C tracestate of its trace.
        """
        if not self._last:
            return None
        anchor = write_traceparent(self._last_trace, self._anchor or self._last, flags)
        last = write_traceparent(self._last_trace, self._last, flags)
        return Whereabouts(anchor, last, self._common.segment, self._identity.paused_at or now, state)


def _describe(about: About) -> dict[str, Value]:
    """Write what a run belongs to under the names of the conventions."""
    found: dict[str, Value] = {}
    if about.session:
        found[SESSION_ID] = found[CONVERSATION_ID] = about.session
    if about.user:
        found[USER_ID] = about.user
    if about.tags:
        found[TAGS] = about.tags
    if about.metadata is not None:
        found[METADATA] = about.metadata.json.decode("utf-8", "replace")
    return found
