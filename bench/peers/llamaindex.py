"""LlamaIndex Workflows, the newest line, as imported: no tracing package is active."""

from __future__ import annotations

from peers.adapter import Adapter
from peers.flows import FlowAdapter

__all__ = ["adapter"]


def adapter(variant: str) -> Adapter:
    """Return the adapter; there is one variant."""
    return FlowAdapter()
