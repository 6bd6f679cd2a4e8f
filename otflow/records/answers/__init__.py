"""Answers: what the history of a run, or of many runs, says to the questions that are asked of it.

Where time went and what it was spent on, what a run had to wait for, who wrote the state, which ways no run has taken
yet, and whether it helps to try again. All of it follows from records; where they do not suffice, that is the answer.
"""

from otflow.records.answers.advice import Advice, DelayTally, ErrorTally, advise
from otflow.records.answers.authors import Blame, Write, blame
from otflow.records.answers.durations import Spent, StepTime, spent
from otflow.records.answers.edges import Coverage, Edge, coverage
from otflow.records.answers.longest import CriticalPath, Segment, critical_path

__all__ = [
    "Advice",
    "Blame",
    "Coverage",
    "CriticalPath",
    "DelayTally",
    "Edge",
    "ErrorTally",
    "Segment",
    "Spent",
    "StepTime",
    "Write",
    "advise",
    "blame",
    "coverage",
    "critical_path",
    "spent",
]
