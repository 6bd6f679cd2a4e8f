"""otflow itself: `idle` with no sink attached, `traced` into memory, `encoded` up to the bytes of OTLP requests."""

from __future__ import annotations

import otflow
from peers.adapter import Adapter
from peers.encoded import OwnBytes
from peers.flows import FlowAdapter
from peers.spans import RecentSpans

__all__ = ["adapter"]


def adapter(variant: str) -> Adapter:
    """Return the adapter.

    Args:
        variant: "idle", "traced" or "encoded".
    """
    if variant == "idle":
        return FlowAdapter()
    spans = OwnBytes() if variant == "encoded" else RecentSpans()
    otflow.configure(tracer_provider=spans.provider)
    return FlowAdapter(spans)
