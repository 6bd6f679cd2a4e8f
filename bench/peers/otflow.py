"""otflow itself: `idle` as imported with no sink attached, `traced` with an in-memory span processor."""

from __future__ import annotations

import otflow
from peers.adapter import Adapter
from peers.flows import FlowAdapter
from peers.spans import RecentSpans

__all__ = ["adapter"]


def adapter(variant: str) -> Adapter:
    """Return the adapter.

    Args:
        variant: "idle" or "traced".
    """
    if variant == "idle":
        return FlowAdapter()
    spans = RecentSpans()
    otflow.configure(tracer_provider=spans.provider)
    return FlowAdapter(spans)
