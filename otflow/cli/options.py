"""Options that several commands share, in the words of their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Against", "From", "Headers", "Journal", "Json", "Output", "Quiet", "RunId", "Timeout"]

From: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="PATH|URL",
        help="Where the runs are: a journal, files of OTLP, Jaeger or Phoenix. Default: the journal.",
    ),
]
Headers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="NAME=VALUE",
        help="Sent to the server that the runs are read from; may be given several times. Shown nowhere.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
RunId: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="RUN", help='An id or its beginning, "last", or a file or URL, with #RUN if it has many.'),
]
Against: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="WORKFLOW",
        help="The workflow: module:Workflow or path/to/file.py:Workflow. Default: what the run was started with.",
    ),
]
Journal: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--journal", metavar="PATH", help="The journal. Default: OTFLOW_JOURNAL, or .otflow/runs.db in this folder."
    ),
]
Timeout: TypeAlias = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="After how long the run ends. Default: as the workflow says."),
]
Output: TypeAlias = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it is written.")]
