"""Who is measured: the peers, their variants and what their environments hold.

This room is data. It must not import a peer: each lives in an environment of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One competitor.

    Args:
        name: the name of its module in `peers/`, of its environment and of its rows.
        variants: what it is measured with; each is passed to the adapter.
        requirements: what pip installs into its environment.
        distributions: whose versions the report names.
        special: variants that run only the workloads that name them.
        project: whether the environment holds this project itself, installed from the working tree.
    """

    name: str
    variants: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    project: bool = False


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "otflow",
            ("idle", "traced"),
            ("opentelemetry-sdk",),
            ("otflow", "opentelemetry-sdk", "pydantic", "msgspec"),
            special=("encoded",),
            project=True,
        ),
        Peer(
            "llamaindex",
            ("untraced",),
            ("llama-index-workflows==2.26.1",),
            ("llama-index-workflows", "llama-index-instrumentation", "pydantic"),
        ),
        Peer(
            "llamaindex_old",
            ("untraced",),
            ("llama-index-workflows==1.3.0",),
            ("llama-index-workflows", "llama-index-instrumentation", "pydantic"),
        ),
        Peer("prototype", ("untraced",), ("pydantic",), ("pydantic",)),
        Peer(
            "raw_otel",
            ("traced",),
            ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
            ("opentelemetry-sdk",),
            special=("encoded", "as much"),
        ),
        Peer("raw_asyncio", ("untraced",)),
    )
}
