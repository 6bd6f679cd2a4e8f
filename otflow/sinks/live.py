"""A span that user code sees: current while a step works, and what is exported when the step is done.

It is a span of the SDK in every respect that users and processors can tell, but it is made without limits to check and
locks to hold: the attributes of otflow are known to be valid. What users add passes the SDK's own checks and limits.

An attempt that waits through a pause has several spans, but its code keeps the first one as the current one. So what is
said to that one goes to the part that is open, or that will be.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

from otflow.records.semconv import EXCEPTION_EVENT, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from otflow.records.span import SpanData

__all__ = ["LiveSpan", "Notes"]

_UNSET = Status(StatusCode.UNSET)


class Notes:
    """What user code says about its span.

    Args:
        limits: how much it may say.
    """

    __slots__ = ("attributes", "events", "links", "name", "status")

    def __init__(self, limits: SpanLimits) -> None:
        self.attributes = BoundedAttributes(
            limits.max_span_attributes, immutable=False, max_value_len=limits.max_span_attribute_length
        )
        self.events: BoundedList = BoundedList(limits.max_events)
        self.links: BoundedList = BoundedList(limits.max_links)
        self.name = ""
        self.status = _UNSET
