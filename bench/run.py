#!/usr/bin/env python3
"""Measures otflow beside its peers and prints the tables.

    python bench/run.py                      everything, three repetitions
    python bench/run.py --quick              one short repetition
    python bench/run.py --markdown FILE      the tables also into FILE, between its two marker comments

It needs the standard library only. It makes the environments that are missing and runs each cell in a process
of its own. It knows nothing about how a peer does its work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from catalogue import PEERS
from cells import RESULT_MARK, Cell, Failure, Machine, Outcome, Report, decode, decode_outcome, encode
from environments import EnvironmentFailedError, ensure
from tables import number, render, replace_block
from workloads import WORKLOADS

_REPETITIONS = 3
_WORKER = Path(__file__).resolve().parent / "worker.py"


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a reader of comma-separated names for argparse."""

    def read(text: str) -> list[str]:
        given = text.split(",")
        unknown = [name for name in given if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return given

    return read


def command_line(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure otflow beside its peers and print the tables.")
    parser.add_argument("--peers", type=names_of(PEERS), default=list(PEERS), metavar="A,B", help="only these peers")
    parser.add_argument(
        "--workloads",
        type=names_of(WORKLOADS),
        default=list(WORKLOADS),
        metavar="A,B",
        help="only these workloads",
    )
    parser.add_argument("--repetitions", type=int, default=_REPETITIONS, metavar="N", help="rounds (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round, shorter timing, a tenth of the long chain")
    parser.add_argument("--timeout", type=float, default=180, metavar="S", help="seconds for one cell (default 180)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save what was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables between its marker comments")
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing, print what --json saved")
    return parser.parse_args(arguments)


def round_of(workloads: Sequence[str], peers: Collection[str], repetition: int) -> list[Cell]:
    """Return the cells of one repetition: workload by workload, the peers in another order each time."""
    order = random.Random(repetition)
    cells: list[Cell] = []
    for workload in workloads:
        only = WORKLOADS[workload].only
        pairs = [(peer, variant) for peer in peers for variant in (*PEERS[peer].variants, *PEERS[peer].special)]
        chosen = [
            Cell(*pair, workload) for pair in pairs if (pair in only if only else pair[1] not in PEERS[pair[0]].special)
        ]
        order.shuffle(chosen)
        cells += chosen
    return cells


def cell_environment() -> dict[str, str]:
    """Return the variables of a cell: ours, without what would change how Python or OpenTelemetry behave."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTFLOW_", "PYTHON"))}
    return {**kept, "PYTHONHASHSEED": "0"}


def measure(cell: Cell, python: Path, repetition: int, given: argparse.Namespace) -> Outcome:
    """Run one cell in a process of its own."""
    command = [
        str(python),
        str(_WORKER),
        cell.peer,
        cell.variant,
        cell.workload,
        *(["--quick"] if given.quick else []),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=given.timeout,
            env=cell_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failure(cell, repetition, f"no result after {given.timeout:g} seconds")
    for line in done.stdout.splitlines():
        if line.startswith(RESULT_MARK) and done.returncode == 0:
            return replace(decode_outcome(json.loads(line.removeprefix(RESULT_MARK))), repetition=repetition)
    said = done.stderr.strip().splitlines()
    return Failure(cell, repetition, said[-1] if said else f"exit code {done.returncode} without a word")


def measure_all(given: argparse.Namespace) -> tuple[Outcome, ...]:
    """Make the environments, then run every cell of every repetition."""
    pythons = {peer: ensure(PEERS[peer]) for peer in given.peers}
    outcomes: list[Outcome] = []
    for repetition in range(1 if given.quick else given.repetitions):
        for cell in round_of(given.workloads, given.peers, repetition):
            outcome = measure(cell, pythons[cell.peer], repetition, given)
            outcomes.append(outcome)
            said = (
                outcome.reason
                if isinstance(outcome, Failure)
                else f"{number(outcome.rate * outcome.speed)} per CPU second"
            )
            print(
                f"{repetition + 1} {cell.workload} {cell.peer} {cell.variant}: {said}",
                file=sys.stderr,
                flush=True,
            )
    return tuple(outcomes)


def command(given: argparse.Namespace) -> str:
    """Write the command with the options that bear on the figures; names of files do not."""
    words = ["python bench/run.py", *(["--quick"] if given.quick else [])]
    if not given.quick and given.repetitions != _REPETITIONS:
        words.append(f"--repetitions {given.repetitions}")
    for option, chosen, every in (("peers", given.peers, PEERS), ("workloads", given.workloads, WORKLOADS)):
        if set(chosen) != set(every):
            words.append(f"--{option} {','.join(chosen)}")
    return " ".join(words)


def obtain(given: argparse.Namespace) -> Report:
    """Measure, or read what was measured before."""
    if given.report:
        return decode(json.loads(given.report.read_text()))
    machine = Machine(f"{platform.system()} {platform.machine()}", os.cpu_count() or 1)
    return Report(machine, command(given), measure_all(given))


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; return 1 when a cell gave no number."""
    given = command_line(arguments)
    if given.markdown:
        replace_block(given.markdown.read_text(), "")  # what cannot be written should not cost a measurement
    if given.json:
        given.json.touch()
    report = obtain(given)
    if given.json:
        given.json.write_text(json.dumps(encode(report), indent=1) + "\n")
    tables = render(report)
    print(tables, end="")
    if report.failures:
        print("bench: some cells failed, so no file of text was changed", file=sys.stderr)
        return 1
    if given.markdown:
        given.markdown.write_text(replace_block(given.markdown.read_text(), tables))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (EnvironmentFailedError, OSError, ValueError) as error:
        sys.exit(f"bench: {error}")
