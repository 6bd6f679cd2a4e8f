"""Wiring: which tracer provider gets the spans of this process.

Nothing happens at import. When a run starts, the user's global tracer provider is used if it is one of the
OpenTelemetry SDK; `configure` names another one. The SDK is never imported for someone who does not use it: a provider
of the SDK can only exist once the SDK was imported. What a span looks like is known in `otflow.sinks.spans`, not here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock

from opentelemetry import trace

from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.errors import WorkflowConfigurationError
from otflow.records.capture import LEVELS

__all__ = ["configure", "wire"]

_SDK = "opentelemetry.sdk.trace"
_UNKNOWN = object()


class _Wiring:
    """What is attached, to which dispatcher, and for which provider."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.automatic = True
        self.seen: trace.TracerProvider | None = None
        self.known: object = _UNKNOWN  # what stood in the place of the global provider when it was last asked for
        self.dispatcher = default_dispatcher
        self.capture = "full"
        self.detach: Callable[[], None] | None = None
        self.calls = 0  # of reset: tells whether what someone did is still in force

    def reset(self, dispatcher: Dispatcher, capture: str, *, automatic: bool) -> None:
        """Begin anew, with nothing attached."""
        self.follow(None)
        self.known = _UNKNOWN
        self.calls += 1
        self.dispatcher, self.capture, self.automatic = dispatcher, capture, automatic

    def follow(self, provider: trace.TracerProvider | None) -> None:
        """Attach a sink for this provider, if it is one of the SDK, in the place of the one that was there."""
        if self.detach is not None:
            self.detach()
            self.detach = None
        self.seen = provider
        if provider is not None and _is_sdk(provider):
            from otflow.sinks.spans import attach  # imports the SDK

            self.detach = attach(self.dispatcher, provider, LEVELS[self.capture])


_wiring = _Wiring()


def wire() -> None:
    """Follow the global tracer provider, unless `configure` named one. Called when a run starts."""
    if not _wiring.automatic or _SDK not in sys.modules:
        return
    known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
    if known is not _UNKNOWN and known is _wiring.known:
        return  # asking for a provider that is not set looks into the environment, which every run would pay
    with _wiring.lock:
        provider = trace.get_tracer_provider()
        if _wiring.automatic and provider is not _wiring.seen:
            _wiring.follow(provider)
        _wiring.known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)


def configure(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    dispatcher: Dispatcher | None = None,
    capture: str = "full",
) -> Callable[[], None]:
    """Say where spans go and what they show, for all runs from now on; each call replaces the one before.

    Args:
        tracer_provider: a `TracerProvider` of the OpenTelemetry SDK, or a `NoOpTracerProvider` for no spans at all;
            default None: the global provider, looked up whenever a run starts.
        dispatcher: the dispatcher whose runs are traced; default the one that all runs share.
        capture: how much of the payloads spans show: "full" (up to 64 KiB for each value), "preview" (2000 bytes) or
            "none"; default "full".

    Returns:
        A function that takes this back: the global provider is followed again, as if nothing had been configured.
        It does nothing once `configure` was called again.

    Raises:
        WorkflowConfigurationError: an argument is of another kind than said above.
    """
    if capture not in LEVELS:
        levels = ", ".join(repr(level) for level in LEVELS)
        raise WorkflowConfigurationError(f"configure(capture={capture!r}): no such level; use one of {levels}.")
    if dispatcher is not None and not isinstance(dispatcher, Dispatcher):
        raise WorkflowConfigurationError(
            f"configure(dispatcher={dispatcher!r}): this is no dispatcher; pass an otflow.dispatcher.Dispatcher, "
            "or leave it out."
        )
    if tracer_provider is not None and not isinstance(tracer_provider, trace.NoOpTracerProvider):
        _check_provider(tracer_provider)
    with _wiring.lock:
        _wiring.reset(dispatcher or default_dispatcher, capture, automatic=tracer_provider is None)
        _wiring.follow(tracer_provider)
        mine = _wiring.calls

    def undo() -> None:
        with _wiring.lock:
            if _wiring.calls == mine:
                _wiring.reset(default_dispatcher, "full", automatic=True)

    return undo


def _check_provider(provider: object) -> None:
    if _is_sdk(provider):
        return
    raise WorkflowConfigurationError(
        f"configure(tracer_provider={provider!r}): spans can only be given to an opentelemetry.sdk.trace."
        "TracerProvider, or to a NoOpTracerProvider for no spans at all. Pass the SDK's provider itself if this one "
        "wraps it, or leave it out to follow the global provider."
    )


def _is_sdk(provider: object) -> bool:
    sdk = sys.modules.get(_SDK)
    return sdk is not None and isinstance(provider, sdk.TracerProvider)
