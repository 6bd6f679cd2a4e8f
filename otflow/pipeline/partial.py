"""Parts of requests: how much of one a receiver did not take, and how one is cut in two.

It reads the message `partial_success` of opentelemetry/proto/collector/trace/v1/trace_service.proto, which is the same
for all signals.
"""

from __future__ import annotations

__all__ = ["read_rejected", "split_request"]


def read_rejected(answer: bytes) -> tuple[int, str]:
    """Return how many spans of a request were rejected, and why; a full success has an empty answer."""
    if not answer:
        return 0, ""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  150 ms, and rarely needed
        ExportTraceServiceResponse,
    )

    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except Exception:  # whatever stands there, the status said that the request was taken
        return 0, ""
    return partial.rejected_spans, partial.error_message


def split_request(request: bytes) -> list[tuple[bytes, int]]:
    """Return two requests of half the spans each, with their numbers of spans.

    Nothing, if there is but one, or if the request is none: it may come from a file that is damaged.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    try:
        whole = ExportTraceServiceRequest.FromString(request)
    except Exception:  # protobuf has several
        return []
    every = sum(len(scoped.spans) for group in whole.resource_spans for scoped in group.scope_spans)
    if every <= 1:
        return []
    halves = []
    for start, end in ((0, every // 2), (every // 2, every)):
        half, position = ExportTraceServiceRequest(), 0
        half.CopyFrom(whole)
        for group in half.resource_spans:
            for scoped in group.scope_spans:
                spans = len(scoped.spans)
                del scoped.spans[max(0, end - position) :]
                del scoped.spans[: max(0, start - position)]
                position += spans
        halves.append((half.SerializeToString(), end - start))
    return halves
