"""The tracer provider that otflow makes when the user has none: of the SDK, with otflow's own way out.

Everybody in the process may use it: it becomes the global provider if there is none, so that spans of users and of
instrumentations go the same way. A global provider can never be exchanged; so it stays when its exporter is closed, and
a later one takes its place in it. It knows providers and exporters, no run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from threading import Thread

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)

from otflow.errors import WorkflowConfigurationError
from otflow.pipeline.exporter import Exporter
from otflow.pipeline.processor import Outlet
from otflow.pipeline.spool import Spool
from otflow.pipeline.target import Limits, Sender, Target

__all__ = ["OwnTraces", "build_traces", "describe_service", "is_own", "read_version"]

_log = logging.getLogger("otflow.telemetry")
_GROUP = "opentelemetry_traces_exporter"
_MILLISECONDS = 1000


class _Global:
    """The provider of otflow that is the global one, if one is; `plain`: with no processor but the outlet."""

    provider: TracerProvider | None = None
    outlet: Outlet | None = None
    plain = False


def is_own(provider: object) -> bool:
    """Tell whether a provider is the global one that otflow made."""
    return provider is not None and provider is _Global.provider


class OwnTraces:
    """A tracer provider of otflow, and its way out.

    Args:
        provider: the provider.
        outlet: its processor.
        exporter: what the processor hands spans to; None when only foreign exporters were asked for.
        exit_timeout: seconds that the end may take.
        plain: whether the provider has no processor but the outlet.
    """

    def __init__(
        self, provider: TracerProvider, outlet: Outlet, exporter: Exporter | None, exit_timeout: float, *, plain: bool
    ) -> None:
        self.provider = provider
        self.exporter = exporter
        self._plain = plain
        self._outlets = [outlet, *([_Global.outlet] if _Global.outlet not in {None, outlet} else [])]
        self._exit_timeout = exit_timeout
        for one in self._outlets:
            if one is not None:
                one.exporter = exporter

    def close(self) -> None:
        """Send what waits, within the time for that, and let nothing else out."""
        for outlet in self._outlets:
            if outlet is not None and outlet.exporter is self.exporter:
                outlet.exporter = None
        if self.exporter is not None:
            self.exporter.close(self._exit_timeout)
        if self._plain:
            return
        # processors of the SDK take as long as their exporters like
        thread = Thread(target=self._end_others, name="otflow-end", daemon=True)
        try:
            thread.start()
            thread.join(self._exit_timeout)
        except RuntimeError:  # there are no new threads at the end of some versions of Python
            self._end_others()

    def _end_others(self) -> None:
        """Have the processors that are not otflow's send what they hold."""
        if is_own(self.provider):  # it stays, because everybody has it
            self.provider.force_flush(int(self._exit_timeout * _MILLISECONDS))
        else:
            self.provider.shutdown()

    def flush(self, timeout: float) -> bool:
        """Send what waits, within so many seconds; tell whether all of it was sent."""
        return self.provider.force_flush(int(timeout * _MILLISECONDS))

    def restart(self) -> None:
        """Begin anew in the child of a fork: what waits is sent by the parent."""
        for outlet in self._outlets:
            if outlet is not None:
                outlet.forget()
        if self.exporter is not None:
            self.exporter.restart()


def build_traces(
    target: Target,
    limits: Limits,
    *,
    exporters: Sequence[str] = ("otlp",),
    service: str = "",
    spool: Path | None = None,
    lenient: bool = False,
) -> OwnTraces | None:
    """Make a provider with its exporters, and the global one of it if there is none.

    Args:
        target: where spans go for the exporter "otlp".
        limits: memory, sizes and times.
        exporters: names: "otlp", "console", or of an entry point of the group opentelemetry_traces_exporter.
        service: the name of the service; default: what the environment says.
        spool: a folder for what cannot be sent; default None.
        lenient: whether a folder that cannot be used is only said in the log, and not used.

    Returns:
        The provider; None if there is not one exporter.

    Raises:
        WorkflowConfigurationError: the folder cannot be used.
    """
    resource = describe_service(service)
    others = [other for name in exporters if name not in {"otlp", "console"} and (other := _load(name)) is not None]
    exporter = _build_exporter(target, limits, spool, lenient=lenient) if "otlp" in exporters else None
    if exporter is None and not others and "console" not in exporters:
        return None
    plain = exporter is not None and not others and "console" not in exporters
    if plain and _Global.plain and _Global.provider is not None and _Global.outlet is not None and _is_same(resource):
        return OwnTraces(_Global.provider, _Global.outlet, exporter, limits.exit_timeout, plain=True)
    provider, outlet = TracerProvider(resource=resource, shutdown_on_exit=False), Outlet()
    provider.add_span_processor(outlet)
    if "console" in exporters:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    for other in others:
        provider.add_span_processor(BatchSpanProcessor(other))
    traces = OwnTraces(provider, outlet, exporter, limits.exit_timeout, plain=plain)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # which stands for: none
        trace.set_tracer_provider(provider)
        _Global.provider, _Global.outlet, _Global.plain = provider, outlet, plain
    return traces


def describe_service(service: str) -> Resource:
    """Return the resource: what the environment says of the service, and its name if one is given."""
    return Resource.create({SERVICE_NAME: service} if service else None)


def read_version() -> str:
    """Return the version of otflow, as the scopes of its telemetry name it."""
    with suppress(PackageNotFoundError):  # it runs from its source
        return version("otflow")
    return ""


def _is_same(resource: Resource) -> bool:
    provider = _Global.provider
    return provider is not None and dict(provider.resource.attributes) == dict(resource.attributes)


def _build_exporter(target: Target, limits: Limits, spool: Path | None, *, lenient: bool) -> Exporter:
    kept = None
    if spool is not None:
        try:
            kept = Spool(spool)
        except OSError as error:
            said = f"The spool {spool} cannot be used: {error}. Name a folder that can be written."
            if not lenient:
                raise WorkflowConfigurationError(said) from error
            _log.warning("%s Spans wait in memory only.", said)
    return Exporter(_sender_for(target), target.place, limits, kept, target.timeout)


def _sender_for(target: Target) -> Callable[[], Sender]:
    def connect() -> Sender:
        """Load the library for sending when the first request is due: it takes longer than a short run."""
        if target.protocol == "grpc":
            from otflow.pipeline.grpc import GrpcSender

            return GrpcSender(target)
        from otflow.pipeline.http import HttpSender

        return HttpSender(target)

    return connect


def _load(name: str) -> SpanExporter | None:
    """Load an exporter of another package, as the SDK does for OTEL_TRACES_EXPORTER; None if that cannot be."""
    fault = "no package that is installed has such an exporter"
    for entry in entry_points(group=_GROUP, name=name):
        try:
            exporter: SpanExporter = entry.load()()
        except Exception as error:  # whatever there is in the environment, it does not stop a run
            fault = f"it cannot be made: {type(error).__name__}: {error}"
        else:
            return exporter
    _log.warning("OTEL_TRACES_EXPORTER names %r, but %s. It is left out.", name, fault)
    return None
