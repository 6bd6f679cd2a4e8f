"""Forking: a new run from any point of an old one, with another event or another state if that is wanted.

The old run is not touched. The first record of the new one holds all that it begins with, and names the run and the
record that it was forked from; its trace is its own, with a link to where the old one stood.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from otflow.context.context import Context
from otflow.events import Event
from otflow.handler import WorkflowHandler
from otflow.replay.contexts import make_data
from otflow.replay.workflows import Recorded, Runnable
from otflow.tagging import add_about

__all__ = ["fork"]


def fork(
    execution: Recorded,
    workflow: Runnable,
    *,
    at: int | None = None,
    event: Event | None = None,
    state: Mapping[str, object] | BaseModel | None = None,
    run_id: str | None = None,
) -> WorkflowHandler:
    """Begin a new run where an old one stood.

    Steps that were running there run again; what was done before is not done again. A position inside of what one
    input led to counts as the end of that: a step that has returned has also sent what it returned. At the end of a
    run the new one stands before it: a failed step is tried again, with the attempts it had left then.

    What the old run asked and nobody had answered stands in the stream of the new one again. The new one belongs to the
    session, the user and the tags of the old one; `tagged` around this call adds to them or names others.

    Args:
        execution: the old run, from any reader.
        workflow: the workflow that is to go on with it.
        at: the number of the record behind which the new run begins; default None: the last one.
        event: an event in place of the one that record `at` brought; default None: that one.
        state: values to write before it goes on, by dotted path, or a whole state; default None: as it was.
        run_id: the id of the new run; default a new one.

    Returns:
        The handler of the new run.

    Raises:
        MisfitError: records or payloads that are needed are missing, cut, hidden or opaque, or the workflow does not
            fit them; the message says which.
        ContextSerdeError: saved data in the records, or a value of the state, does not fit.
        WorkflowValidationError: record `at` brought no event that could be changed.
        WorkflowRuntimeError: there is no running event loop.
    """
    data = make_data(execution, workflow, at, event, state, forked=True, about=add_about)
    context: Context[Any] = Context.from_dict(workflow, data)
    return workflow.run(ctx=context, run_id=run_id or uuid.uuid4().hex)
