"""LlamaIndex Workflows 1.3.0, the last release of the older line; the same source, another environment."""

from __future__ import annotations

from peers.llamaindex import adapter

__all__ = ["adapter"]
