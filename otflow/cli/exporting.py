"""`otflow export`: runs from a journal, or from anywhere else, to a receiver of OTLP or into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import sleep
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
import typer

from otflow.cli.complaints import MISSING, CommandError, UsageError
from otflow.cli.hiding import hide
from otflow.cli.options import From, Json
from otflow.cli.outlet import say
from otflow.cli.screen import Screen
from otflow.cli.sources import find_runs, read_headers
from otflow.cli.tables import print_json
from otflow.drawing.quantities import count
from otflow.pipeline.target import Refused, Retry, Sender, Sent, Target, TooLarge
from otflow.records.capture import LEVELS
from otflow.records.execution import Execution
from otflow.records.span import SpanData
from otflow.records.spans import to_spans

__all__ = ["connect", "export"]

_SIZE = 512 * 1024  # bytes of a request
_TRIES = 4
_LONGEST = 10.0  # seconds between two tries

Send: TypeAlias = Callable[[list[SpanData]], None]


class _Sums(msgspec.Struct):
    runs: int = 0
    spans: int = 0
    rejected: int = 0


def export(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Runs, or places with all their runs. Default: the journal."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL|FILE",
            help="http(s)://host:4318, grpc(s)://host:4317, FILE.jsonl (JSON lines) or FILE.binpb (protobuf).",
        ),
    ] = None,
    place: From = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="Sent with each request.")
    ] = None,
    from_header: Annotated[
        list[str] | None,
        typer.Option("--from-header", metavar="NAME=VALUE", help="Sent to the server that the runs are read from."),
    ] = None,
    service: Annotated[str, typer.Option("--service", metavar="NAME", help="The name of the service.")] = "",
    capture: Annotated[
        str, typer.Option("--capture", help="How much of the payloads is shown: full, preview or none.")
    ] = "full",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For each request.")] = 10.0,
    json: Json = False,
) -> None:
    """Send recorded runs as OTLP to a receiver, or write them into a file.

    The ids of spans follow from those of their runs: what was exported before is the same trace. What looks like a
    secret is left out, as in any trace: values by the names of their fields.
    """
    if capture not in LEVELS:
        raise UsageError(f'--capture "{capture}": use full, preview or none.')
    sums = _Sums()
    target = _open(to, service, read_headers(header or ()), timeout, sums)
    try:
        with Screen(sys.stderr).moving(lambda: f"{count(sums.runs, 'run')}, {count(sums.spans, 'span')}"):
            _send_all(find_runs(runs or (), place, headers=from_header), capture, target.send, sums)
    except BaseException:  # an interruption too: nothing half written stays
        target.close(kept=False)
        raise
    target.close(kept=True)
    _tell(to, sums, json=json)


def _tell(to: str | None, sums: _Sums, *, json: bool) -> None:
    if json:
        print_json({"to": to, "runs": sums.runs, "spans": sums.spans, "rejected": sums.rejected})
    else:
        say(f"{count(sums.runs, 'run')}, {count(sums.spans, 'span')} to {to}")
    if sums.rejected:
        raise CommandError(f"{to} rejected {count(sums.rejected, 'span')} of {sums.spans:,}. Its log says why.")


def _send_all(executions: Iterable[Execution], capture: str, send: Send, sums: _Sums) -> None:
    for execution in executions:
        spans = to_spans(hide(execution, exact=True).records, LEVELS[capture])
        send(spans)
        sums.runs += 1
        sums.spans += len(spans)


class _Place(NamedTuple):
    """Where spans go, and what is to be done at the end: with what is there, or without it."""

    send: Send
    close: Callable[..., None]


def _open(to: str | None, service: str, headers: dict[str, str], timeout: float, sums: _Sums) -> _Place:
    if to is None:
        raise UsageError("say where the runs go: --to http://localhost:4318, --to runs.jsonl or --to runs.binpb.")
    scheme = to.partition("://")[0] if "://" in to else ""
    if scheme in {"http", "https"}:
        return _open_receiver(to, "http/protobuf", service, headers, timeout, sums)
    if scheme in {"grpc", "grpcs"}:
        return _open_receiver(f"http{scheme[4:]}{to[len(scheme) :]}", "grpc", service, headers, timeout, sums)
    if scheme:
        raise UsageError(f"--to {to}: use http, https, grpc or grpcs, or name a file.")
    return _open_file(Path(to), service)


def _open_receiver(
    to: str,
    protocol: Literal["http/protobuf", "grpc"],
    service: str,
    headers: dict[str, str],
    timeout: float,
    sums: _Sums,
) -> _Place:
    from otflow.telemetry.environment import locate
    from otflow.telemetry.history import encode_spans, make_request, make_scope

    origin = make_scope(service)
    sender = connect(Target(locate(to, protocol, "traces"), protocol, headers, timeout))

    def put(group: list[bytes]) -> None:
        for attempt in range(1, _TRIES + 1):
            answer = sender.send(make_request(group, origin), timeout)
            match answer:
                case Sent():
                    sums.rejected += answer.rejected
                    return
                case TooLarge() if len(group) > 1:
                    put(group[: len(group) // 2])
                    put(group[len(group) // 2 :])
                    return
                case Retry() if attempt < _TRIES:
                    sleep(min(_LONGEST, answer.after or 0.2 * 2**attempt))
                case Retry():
                    raise CommandError(f"{to} does not take spans: {answer.reason}. Is the receiver there?", MISSING)
                case Refused() | TooLarge():
                    raise CommandError(f"{to} refuses spans: {answer.reason}.")

    def send(spans: list[SpanData]) -> None:
        for group in encode_spans(spans, origin, _SIZE):
            put(group)

    return _Place(send, lambda **_: sender.close())


def connect(target: Target) -> Sender:
    """Make what sends spans to a receiver. The library for it is loaded now."""
    if target.protocol == "grpc":
        from otflow.pipeline.grpc import GrpcSender

        return GrpcSender(target)
    from otflow.pipeline.http import HttpSender

    return HttpSender(target)


def _open_file(path: Path, service: str) -> _Place:
    from otflow.telemetry.history import encode_spans, make_request, make_scope, to_json

    plain = path.suffix in {".jsonl", ".json", ".ndjson"}
    if not plain and path.suffix not in {".binpb", ".pb"}:
        raise UsageError(f"--to {path}: the ending says in which form: .jsonl, or .binpb.")
    origin = make_scope(service)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # what is half written has another name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("wb")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Name another file.") from error

    def send(spans: list[SpanData]) -> None:
        if plain:
            file.write(msgspec.json.encode(to_json(spans, origin)) + b"\n")
            return
        for group in encode_spans(spans, origin, _SIZE):
            file.write(make_request(group, origin))

    def close(*, kept: bool) -> None:
        file.close()
        if kept:
            part.replace(path)
        else:
            part.unlink(missing_ok=True)

    return _Place(send, close)
