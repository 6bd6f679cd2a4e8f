"""The command line: `otflow`. The only room that knows a terminal, and the only one that imports rich and typer."""

from otflow.cli.app import main

__all__ = ["main"]
