"""`python -m stack`: what the targets of the Makefile call. Says what it does in lines of 80 columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from stack.install import install_tool
from stack.local import end_stack, show_stack, start_stack
from stack.process import StackError
from stack.recipes import RECIPES
from stack.trace_demo import trace_demo

__all__ = ["main"]

# What is made side by side: the two that compile would only take the processor from each other.
_LANES = (("collector", "jaeger"), ("phoenix",), ("prometheus", "compose", "chromium"))
SERVERS = ("collector", "jaeger", "phoenix", "prometheus")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give the exit code: 0, 1 when something failed, 2 when it was used wrongly."""
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="put tools onto this machine, once")
    install.add_argument("tools", nargs="*", choices=[*RECIPES, []], help="which; all without a name")
    commands.add_parser("up", help="start the stack")
    commands.add_parser("down", help="end what `up` started")
    commands.add_parser("show", help="tell where everything is")
    commands.add_parser("demo", help="run `otflow demo` into the stack")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "install":
                return 0 if install_tools(chosen.tools or list(RECIPES)) else 1
            case "up":
                if not install_tools(SERVERS):
                    return 1
                print(start_stack(tell), flush=True)
            case "down":
                end_stack(tell)
            case "show":
                print(show_stack())
            case _:
                return trace_demo(tell)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    return 0


def tell(line: str) -> None:
    """Say what is done."""
    print(f"stack: {line}", flush=True)


def install_tools(names: Sequence[str]) -> bool:
    """Make what this machine lacks, and tell whether it has all of it now; what failed is said with its reason."""

    def work(lane: Sequence[str]) -> list[str]:
        failed = []
        for name in lane:
            try:
                install_tool(name, tell)
            except StackError as error:
                failed.append(str(error))
        return failed

    lanes = [[name for name in lane if name in names] for lane in _LANES]
    with ThreadPoolExecutor(len(lanes)) as pool:
        failed = [each for found in pool.map(work, lanes) for each in found]
    for each in failed:
        print(f"stack: {each}", file=sys.stderr)
    return not failed
