"""Standard `logging` beside a run: its records say which run, step and span they belong to, and can go out as OTLP.

Nothing here is active until someone asks for it. Records of runs are another matter; this room never reads them.
"""

from otflow.logs.handler import attach_handler
from otflow.logs.ids import add_ids

__all__ = ["add_ids", "attach_handler"]
