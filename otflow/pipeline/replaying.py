"""Requests that lie in files, when a receiver has answered to them: sent, kept, divided or lost.

It knows files and answers, and neither memory nor threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from otflow.pipeline.losses import Losses
from otflow.pipeline.partial import split_request
from otflow.pipeline.spool import Spool, Taken
from otflow.pipeline.target import Answer, Refused, Retry, Sent, TooLarge

__all__ = ["replay"]


def replay(spool: Spool, taken: Taken, answer: Answer, settle: Callable[..., None], losses: Losses) -> None:
    """Do with a file what the answer to its request asks for.

    Args:
        spool: where it lies.
        taken: the file.
        answer: what the receiver said.
        settle: counts what becomes of its spans.
        losses: what is lost is told there.
    """
    match answer:
        case Retry():
            spool.give_back(taken.path)
            settle(spooled=taken.spans)
            return
        case Sent(rejected=rejected, reason=reason):
            rejected = max(0, min(rejected, taken.spans))
            settle(sent=taken.spans - rejected)
            if rejected:
                losses.add("rejected", rejected, reason, settle)
        case TooLarge(reason=reason):
            kept = spool.split(taken, split_request(taken.request))
            settle(spooled=kept)
            if kept < taken.spans:
                losses.add("too_large", taken.spans - kept, reason, settle)
        case Refused(reason=reason):
            losses.add("refused", taken.spans, reason, settle)
        case _:
            assert_never(answer)
    spool.done(taken.path)
