"""Replay: runs looked at, and taken up again, from their records."""

from otflow.replay.contexts import make_context
from otflow.replay.fork import fork
from otflow.replay.rebuild import MisfitError, rebuild
from otflow.replay.replay import replay
from otflow.replay.verdict import Divergence, Verdict

__all__ = ["Divergence", "MisfitError", "Verdict", "fork", "make_context", "rebuild", "replay"]
