"""Runs programs as their users would: in a process of their own, with an environment that says nothing of telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.otlp_sink import GENEROUS

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
QUIET = ("OTEL_", "OTFLOW_", "LOGFIRE_", "PHOENIX_", "PYDANTIC_", "COV_")  # of the machine, or of the tests


def surround(**variables: str) -> dict[str, str]:
    """Make the environment of a program."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(QUIET)}
    return {**inherited, "PYTHONPATH": str(ROOT), **variables}


def launch(program: str, *arguments: str, under: tuple[str, ...] = (), **variables: str) -> tuple[str, str]:
    """Run a program to its end, and give what it says on stdout and on stderr.

    Args:
        program: its name.
        arguments: its arguments.
        under: a command that starts it.
        variables: variables of its environment.
    """
    command = [*under, sys.executable, str(PROGRAMS / f"{program}.py"), *arguments]
    done = subprocess.run(
        command, env=surround(**variables), capture_output=True, text=True, timeout=GENEROUS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@contextmanager
def serving(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a service that prints its port, and give it with its address; end it if it has not ended by then."""
    command = [sys.executable, str(PROGRAMS / f"{program}.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=surround(), **pipes) as service:
        try:
            port = service.stdout.readline().strip()
            assert port.isdigit(), service.stderr.read()
            yield service, f"http://127.0.0.1:{port}"
        finally:
            if service.poll() is None:
                service.kill()
