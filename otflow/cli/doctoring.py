"""`otflow doctor`: what is installed and configured, and which receiver answers. It asks, and claims nothing else."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from otflow import __version__
from otflow.cli.complaints import FAILED
from otflow.cli.exporting import connect
from otflow.cli.options import Json
from otflow.cli.screen import Screen
from otflow.cli.sources import find_journal_path
from otflow.cli.tables import print_json
from otflow.drawing.line import Piece, Style, clean
from otflow.drawing.quantities import count
from otflow.errors import OtflowError
from otflow.journal import JournalSource
from otflow.pipeline.target import Sender, Sent, Target
from otflow.telemetry.environment import Environment, read_environment

__all__ = ["doctor"]

_PACKAGES = (
    ("opentelemetry-api", ""),
    ("opentelemetry-sdk", ""),
    ("pydantic", ""),
    ("msgspec", ""),
    ("typer", ""),
    ("rich", ""),
    ("grpcio", "for OTLP over gRPC"),
    ("prometheus-client", "for metrics that are scraped"),
    ("igraph", "for fewer crossings in drawings: the extra `draw`"),
)
_SECRET = ("HEADERS", "KEY", "TOKEN", "PASSWORD", "SECRET")
_STYLES: dict[str, Style] = {"ok": "good", "note": "wait", "bad": "bad"}


class _Finding(NamedTuple):
    """Something that was found out: about what, whether it is well ("ok", "note", "bad"), and in words."""

    about: str
    state: str
    words: str


def doctor(
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long a receiver may take to answer.")
    ] = 3.0,
    json: Json = False,
) -> None:
    """Say what is installed and configured, and ask the receivers whether they answer.

    It sees what the environment says; what a program configures in its code is known to that program only. A receiver
    is sent an empty request, which leaves nothing behind. Exit code 1 if something that is configured does not work.
    """
    wanted = read_environment(os.environ)
    screen = Screen(sys.stderr)
    with screen.moving(lambda: "asking the receivers"):
        parts = {
            "versions": list(_look_at_versions()),
            "environment": list(_look_at_environment(wanted)),
            "journal": list(_look_at_journal()),
            "telemetry": list(_look_at_telemetry(wanted, timeout)),
        }
    if json:
        print_json({name: [finding._asdict() for finding in findings] for name, findings in parts.items()})
    else:
        _print(Screen(sys.stdout), parts)
    if any(finding.state == "bad" for findings in parts.values() for finding in findings):
        raise typer.Exit(FAILED)


def _print(screen: Screen, parts: dict[str, list[_Finding]]) -> None:
    signs = {"ok": screen.signs.good, "note": screen.signs.dot, "bad": screen.signs.bad}
    for number, (name, findings) in enumerate(parts.items()):
        screen.print([()] * (number > 0) + [(Piece(name, "title"),)])
        size = max((len(finding.about) for finding in findings), default=0)
        for finding in findings:
            head = (Piece(f"  {signs[finding.state]} ", _STYLES[finding.state]), Piece(f"{finding.about:<{size}}  "))
            if size > screen.width // 2:
                screen.print([head])
                screen.write((Piece(clean(finding.words), "faint"),), indent="      ")
            else:
                screen.write((Piece(clean(finding.words), "faint"),), indent=" " * (size + 6), first=head)


def _look_at_versions() -> Iterator[_Finding]:
    yield _Finding("otflow", "ok", f"{__version__}, {Path(__file__).parents[1]}")
    yield _Finding("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for name, use in _PACKAGES:
        try:
            yield _Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield _Finding(name, "note", f"not installed{f' ({use})' if use else ''}")


def _look_at_environment(wanted: Environment) -> Iterator[_Finding]:
    names = sorted(name for name in os.environ if name.startswith(("OTEL_", "OTFLOW_", "OPENINFERENCE_")))
    for name in names:
        value = "(set, not shown)" if any(word in name for word in _SECRET) else os.environ[name]
        yield _Finding(name, "ok", value)
    for fault in wanted.faults:
        name, _, words = fault.partition(": ")
        yield _Finding(name, "bad", words)
    if not names:
        yield _Finding("variables", "note", "no OTEL_* and no OTFLOW_* is set: spans and metrics go nowhere")


def _look_at_journal() -> Iterator[_Finding]:
    path = find_journal_path()
    where = "OTFLOW_JOURNAL" if os.environ.get("OTFLOW_JOURNAL", "").strip() else "the default of the command"
    if not path.exists():
        parent = next((each for each in path.absolute().parents if each.exists()), Path("/"))
        state = "note" if os.access(parent, os.W_OK) else "bad"
        words = "not there yet" if state == "note" else f"cannot be made: {parent} cannot be written"
        yield _Finding(str(path), state, f"{words} ({where})")
        return
    try:
        source = JournalSource(path)
        infos = list(source.runs())
        source.close()
    except OtflowError as error:
        yield _Finding(str(path), "bad", str(error))
        return
    open_ones = sum(info.outcome in {"open", "paused"} for info in infos)
    words = f"{count(len(infos), 'run')}, {open_ones:,} without an end, {path.stat().st_size:,} bytes ({where})"
    yield _Finding(str(path), "ok" if os.access(path, os.W_OK) else "bad", words)


def _look_at_telemetry(wanted: Environment, timeout: float) -> Iterator[_Finding]:
    if wanted.disabled:
        yield _Finding("OTEL_SDK_DISABLED", "note", "all telemetry is switched off")
        return
    for signal, names, target in (
        ("traces", wanted.traces, wanted.target),
        ("metrics", wanted.metrics, wanted.metrics_target),
    ):
        if not names:
            yield _Finding(signal, "note", "not exported (OTEL_EXPORTER_OTLP_ENDPOINT names a receiver)")
        for name in names:
            yield _ask(signal, target, timeout) if name == "otlp" else _Finding(signal, "note", f"to {name}, not asked")
    if wanted.logs:
        yield _Finding("logs", "note", f"to {', '.join(wanted.logs)}, not asked")
    if wanted.prometheus_port:
        yield _Finding(
            "prometheus", "note", f"served on {wanted.prometheus_host}:{wanted.prometheus_port} while runs go on"
        )
    yield _Finding(
        "payloads",
        "ok",
        f"{wanted.capture}, {'without' if wanted.redact else 'with'} what the names of fields tell to be secret",
    )


def _ask(signal: str, target: Target, timeout: float) -> _Finding:
    """Send an empty request, which every receiver of OTLP takes."""
    place = f"{target.endpoint} ({target.protocol})"
    try:
        if target.protocol == "grpc" and signal == "metrics":
            from otflow.pipeline.grpc import METRICS, GrpcSender

            sender: Sender = GrpcSender(target, METRICS)
        else:
            sender = connect(target)
        answer = sender.send(b"", timeout)
        sender.close()
    except Exception as error:  # certificates that are not there, and whatever else may be set wrongly
        return _Finding(signal, "bad", f"{place} cannot be asked: {type(error).__name__}: {error}")
    if isinstance(answer, Sent):
        return _Finding(signal, "ok", f"{place} answers")
    return _Finding(signal, "bad", f"{place} does not take them: {answer.reason}")
