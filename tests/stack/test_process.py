"""Processes of the stack are found again by what they are, not by a number that others get after them."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stack.process import (
    StackError,
    find_busy_ports,
    find_free_ports,
    is_running,
    kill_process,
    poll,
    start_process,
    stop_process,
    wait_until_ready,
)

WAITER = (sys.executable, "-c", "import signal; print('here', flush=True); signal.pause()")
STUBBORN = (
    sys.executable,
    "-c",
    "from signal import *; signal(SIGTERM, SIG_IGN); print('here', flush=True)\nwhile True: pause()",
)


def start(command: tuple[str, ...], folder: Path):
    """Start a program and wait until it has said something."""
    process = start_process("program", command, dict(os.environ), folder)
    assert poll(process.log.read_text, 30)
    return process


def test_a_process_ends_politely(tmp_path: Path) -> None:
    """A process that was started runs until it is stopped, and stopping it again does nothing."""
    process = start(WAITER, tmp_path)
    assert is_running(process)
    assert stop_process(process)
    assert not is_running(process)
    assert not stop_process(process)


def test_a_process_ends_by_force(tmp_path: Path) -> None:
    """A process that does not listen is ended all the same."""
    process = start(STUBBORN, tmp_path)
    assert stop_process(process, patience=0.2)
    assert not is_running(process)


def test_nobody_else_is_signalled(tmp_path: Path) -> None:
    """A process that has the id of one that ended long ago is left alone."""
    process = start(WAITER, tmp_path)
    former = replace(process, began="another boot/1")
    assert not is_running(former)
    assert not stop_process(former)
    kill_process(former)
    assert is_running(process)
    kill_process(process)
    assert not is_running(process)


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    """Who cannot start a program says which."""
    with pytest.raises(StackError, match=r"program cannot be started: .*nowhere"):
        start_process("program", ["/nowhere/at/all"], {}, tmp_path)


def test_an_early_end_is_told_with_the_log(tmp_path: Path) -> None:
    """A server that ends instead of becoming ready is reported with its last words, without waiting for the time."""
    command = (sys.executable, "-c", "raise SystemExit('the port is taken')")
    process = start_process("program", command, dict(os.environ), tmp_path)
    with pytest.raises(StackError, match=r"program ended while it started.*\n  the port is taken"):
        wait_until_ready(process, "http://127.0.0.1:1/", 60)


def test_busy_ports_are_seen() -> None:
    """A port that somebody listens on is busy, and free ports are all different."""
    first, second = find_free_ports(2)
    assert first != second
    with socket.create_server(("127.0.0.1", first)):
        assert find_busy_ports([first, second]) == [first]
    assert find_busy_ports([first, second]) == []
