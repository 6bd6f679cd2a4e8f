"""Readers: runs read back from where they were recorded.

`open_source` finds the reader: for this process's memory, the journal, files of OTLP, Jaeger and Phoenix. All of them
give the same: a list of runs, and of one run an `Execution` with what is known and what is missing. Nothing that is
read is ever executed or unpickled.
"""

from otflow.errors import ReaderError
from otflow.readers.foreign import Foreign, ForeignSpan
from otflow.readers.opening import open_source
from otflow.readers.source import Source, describe, read_all, read_foreign
from otflow.records.execution import Execution, Gap, RunInfo

__all__ = [
    "Execution",
    "Foreign",
    "ForeignSpan",
    "Gap",
    "ReaderError",
    "RunInfo",
    "Source",
    "describe",
    "open_source",
    "read_all",
    "read_foreign",
]
