"""Scenarios: a run as text, what happens to it (`> ...`) and the records that follow, one a line.

A file begins with comments (`#`) that state its law, then describes the workflow:

    step a: Start -> B | C, workers 2, retry 5s 10s
    step b: B -> Stop
    step h: StepFailedEvent -> Stop, catches a, recoveries 2
    run: timeout 60s, stepwise
    only core: the reason why nothing but the core can be driven like this

What an event does follows from its name: `Start...` starts a run, `Stop...` ends it, `Ask...` is a question to the
outside, `Answer...` comes from there. `a#2` is the second invocation of step `a`, `a#2/3` its third attempt; `B2` is the
second event of type `B`. Fields stand in parentheses: `B(k=1)`. All inputs are listed in `_GRAMMAR`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from otflow.core.snapshot import Leftovers
from otflow.records.body import Body
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
    Record,
    RetryQueued,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
