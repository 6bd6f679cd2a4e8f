"""Where events come from, and where runs stand: the spans around them.

It asks the scopes of the dispatcher, which know spans; here they are texts.
"""

from __future__ import annotations

from threading import get_ident

from otflow.records.identity import Whereabouts
from otflow.runtime.driver import Driver

__all__ = ["find_place", "name_sender"]


def name_sender(driver: Driver, parent: str) -> str:
    """Name the span in which the outside sends something to a run.

    Args:
        driver: the run.
        parent: the span that it stands under anyway.

    Returns:
        A W3C traceparent; "" if there is no span, or if it is the parent.
    """
    if not driver.dispatcher.scopes:
        return ""
    sender = driver.dispatcher.origin()
    return sender if sender != parent else ""


def find_place(driver: Driver, thread: int) -> Whereabouts | None:
    """Find out where a run stands in its trace, for the data that is saved with it.

    Args:
        driver: the run.
        thread: the thread of its event loop.
    """
    if not driver.dispatcher.scopes:
        return None
    if get_ident() == thread:
        driver.commits.backlog.catch_up()  # so that whoever follows the run knows where it stands
    return driver.dispatcher.locate(driver.state.run, driver.now())
