"""Losses: the spans that never arrive are counted by their reason, and the first of each kind is said in the log.

An operator must find the reason in the log, and no program must drown in it; the counts are exact, and elsewhere too.
It knows numbers and words, no span and no request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from otflow.pipeline.tally import Tally

__all__ = ["Losses"]

_log = logging.getLogger("otflow.telemetry")
_REASONS = {
    "closed": "came after the end",
    "exit": "could not be sent in time",
    "full": "found no room in memory",
    "refused": "were refused",
    "rejected": "were rejected",
    "spool_full": "found no room in the spool",
    "too_large": "were too large",
    "unencodable": "could not be encoded",
}
"""What becomes of spans that are lost."""


class Losses:
    """What is lost on the way to one receiver.

    Args:
        tally: counts it.
        place: the receiver as people know it.
    """

    def __init__(self, tally: Tally, place: str) -> None:
        self._tally = tally
        self._place = place
        self._told: set[str] = set()

    def add(self, loss: str, spans: int, why: str, settle: Callable[..., None] | None = None) -> None:
        """Count spans that are lost.

        Args:
            loss: a kind of loss, one of those that the tally knows.
            spans: how many.
            why: what the receiver, or a file system, said.
            settle: counts them; default None: as spans that waited in memory.
        """
        (settle or self._tally.settle)(lost=spans, reason=loss)
        if loss != "exit":  # which is said at the end
            text = "%d spans for %s %s (%s). Further ones are only counted."
            self.tell(loss, text, spans, self._place, _REASONS[loss], why)

    def sum_up(self) -> None:
        """Say at the end what is lost, if anything is."""
        status = self._tally.read(reachable=True)
        if status.dropped:
            reasons = ", ".join(f"{spans} {_REASONS[reason]}" for reason, spans in sorted(status.dropped.items()))
            self.tell("end", "Of %d spans for %s these are lost: %s.", status.accepted, self._place, reasons)

    def tell(self, what: str, text: str, *arguments: object) -> None:
        """Write a line to the log, once for each kind of trouble."""
        if what not in self._told:
            self._told.add(what)
            with suppress(Exception):  # filters and handlers are not ours
                _log.warning(text, *arguments)
