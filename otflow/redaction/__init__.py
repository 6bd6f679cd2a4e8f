"""Redaction: what must not leave the process is hidden before any record goes out.

The run itself and what a user saves of it keep the true values; what goes to spans, journals, logs and any other sink
has `__REDACTED__` in their place. This room knows payloads and policies, and neither runs nor sinks.
"""

from otflow.records.body import REDACTED
from otflow.redaction.policy import Redaction
from otflow.redaction.redactor import DEFAULT, HIDE, Redactor
from otflow.redaction.shapes import MARK
from otflow.redaction.walk import Callback
from otflow.redaction.words import DEFAULT_KEYS

__all__ = ["DEFAULT", "DEFAULT_KEYS", "HIDE", "MARK", "REDACTED", "Callback", "Redaction", "Redactor"]
