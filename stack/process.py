"""Processes that outlive whoever started them: start one, wait until it serves, find it again, end it.

A process is named by its id and the moment at which it began, because ids are used again: only a process for which
both are right is ever sent a signal. This room knows no server.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

__all__ = [
    "Process",
    "StackError",
    "find_busy_ports",
    "find_free_ports",
    "is_running",
    "is_serving",
    "kill_process",
    "lock",
    "poll",
    "read_tail",
    "start_process",
    "stop_process",
    "wait_until_ready",
]

LOOPBACK = "127.0.0.1"
_STEP = 0.1  # seconds between two looks


class StackError(Exception):
    """Something of the stack cannot be had, started or ended; the message says what and why."""


@dataclass(frozen=True)
class Process:
    """A process that was started: its name, its id, the moment it began (in words of the system), and its log."""

    name: str
    pid: int
    began: str
    log: Path


def _read_birth(pid: int) -> str:
    """Give what tells a process from a later one with the same id; empty when there is none that runs."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"  # a zombie has ended, whoever waits for it
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "" if shown.startswith("Z") else " ".join(shown.split()[1:])


def _reap(pid: int) -> None:
    """Take note of the end of a child, so that it does not stay a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def start_process(name: str, command: Iterable[str | Path], environment: Mapping[str, str], folder: Path) -> Process:
    """Start a process in a session of its own, with its output in `folder`/`name`.log.

    Args:
        name: what it is called.
        command: the program and its arguments.
        environment: all variables that it sees.
        folder: where it runs; made when it is missing.

    Raises:
        StackError: the program cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        try:
            started = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{name} cannot be started: {error}") from error
    started.returncode = 0  # it is waited for here, or by nobody; Popen would complain that it still runs
    return Process(name, started.pid, _read_birth(started.pid), log)


def is_running(process: Process) -> bool:
    """Tell whether exactly this process runs."""
    _reap(process.pid)
    return bool(process.began) and _read_birth(process.pid) == process.began


def _send(process: Process, number: signal.Signals) -> None:
    if is_running(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def stop_process(process: Process, *, patience: float = 15.0) -> bool:
    """End a process: politely, and by force after `patience` seconds. Tells whether there was anything to end."""
    if not is_running(process):
        return False
    _send(process, signal.SIGTERM)
    if not poll(lambda: not is_running(process), patience):
        kill_process(process)
    return True


def kill_process(process: Process) -> None:
    """End a process at once, as a crash would, and return when it is gone.

    Raises:
        StackError: it does not go.
    """
    _send(process, signal.SIGKILL)
    if not poll(lambda: not is_running(process), 15):
        raise StackError(f"{process.name} (process {process.pid}) does not end")


def poll(condition: Callable[[], object], patience: float) -> bool:
    """Look again and again until a condition holds, for at most `patience` seconds; tell whether it does."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(_STEP)
    return True


def is_serving(url: str) -> bool:
    """Tell whether a URL answers with success."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as answer:  # one that is no success, and open like any other
        answer.close()
        return False
    except (OSError, HTTPException):
        return False
    return True


def wait_until_ready(process: Process, url: str, patience: float) -> None:
    """Return when a URL of a process answers.

    Args:
        process: who is to answer.
        url: what is asked.
        patience: for how many seconds at most.

    Raises:
        StackError: it ended before, or it took too long; with the end of its log.
    """
    if poll(lambda: not is_running(process) or is_serving(url), patience) and is_running(process):
        return
    what = f"was not ready after {patience:.0f} s" if is_running(process) else "ended while it started"
    raise StackError(f"{process.name} {what}; its log, {process.log}, ends with:\n{read_tail(process.log)}")


def read_tail(log: Path, lines: int = 20) -> str:
    """Read the last lines of a log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "  (nothing)"
    return "\n".join(f"  {line[:300]}" for line in text.splitlines()[-lines:]) or "  (nothing)"


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time do what follows; the others wait. A lock ends with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_free_ports(number: int) -> list[int]:
    """Find ports on loopback that nobody listens on, all different.

    They lie below those that systems give to outgoing connections, so none is taken by chance before it is used.
    """
    candidates = random.SystemRandom().sample(range(18_000, 30_000), 400)
    free = [port for port in candidates if not find_busy_ports([port])]
    return free[:number]


def find_busy_ports(ports: Iterable[int]) -> list[int]:
    """Find those of the ports that somebody listens on, on loopback or on all addresses."""
    busy = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                busy.append(port)
    return busy
