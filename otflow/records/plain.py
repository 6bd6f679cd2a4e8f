"""The attributes of a plain attempt, which took one event and returned one, or put it aside.

Most spans are of this kind, and most of what they say is the same for all spans of a step. So nothing is written down
before someone looks: whoever reads attributes finds a mapping like any other, and who writes spans as bytes finds the
few facts that are not in the template. It knows no record and no span.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView

import msgspec

from otflow.records.semconv import (
    ATTEMPT,
    IN_IDS,
    IN_TYPES,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    OUT_IDS,
    OUT_TYPES,
    OUTCOME,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    QUEUE_DURATION,
    RECORDS,
    SEQ_END,
    SEQ_START,
)
from otflow.records.span import Value

__all__ = ["JSON", "PlainAttributes", "Template"]

JSON = "application/json"


class Template(msgspec.Struct, eq=False):
    """What the spans of one step, or the segments of a run, have in common.

    Attributes:
        name: the name of the spans.
        fixed: their attributes.
        memo: what a writer of bytes made of all this, under keys of its own.
    """

    name: str
    fixed: dict[str, Value]
    memo: dict[object, bytes] = {}


class PlainAttributes(msgspec.Struct, eq=False):
    """The attributes of a plain attempt, as a mapping.

    Attributes:
        template: what the spans of its step have in common.
        given, made: the JSON of the event that it took, and of the one that it returned or None.
        records: the JSON of its records.
        invocation, attempt, waited: of which attempt it is, and how many seconds it waited for a worker.
        first, last: the numbers of the first and of the last record, which brought the event that was returned.
        event, kind: the event that it took, and its type.
        sent: the type of the event that it returned.
    """

    template: Template
    given: bytes
    made: bytes | None
    records: bytes
    outcome: str
    invocation: int
    attempt: int
    waited: float
    first: int
    last: int
    event: int
    kind: str
    sent: str = ""
    _whole: dict[str, Value] | None = None

    def whole(self) -> dict[str, Value]:
        """Return all attributes."""
        found = self._whole
        if found is None:
            found = self._whole = self._write()
        return found

    def _write(self) -> dict[str, Value]:
        found = self.template.fixed.copy()
        found[INPUT_MIME_TYPE] = JSON
        found[ATTEMPT] = self.attempt
        found[OUTCOME] = self.outcome
        found[IN_TYPES] = (self.kind,)
        if self.made is not None:
            found[OUTPUT_MIME_TYPE] = JSON
            found[OUT_TYPES] = (self.sent,)
        found[INVOCATION_ID] = self.invocation
        found[QUEUE_DURATION] = self.waited
        found[SEQ_START] = self.first
        found[SEQ_END] = self.last
        found[IN_IDS] = (self.event,)
        if self.made is not None:
            found[OUT_IDS] = (self.last,)
        found[INPUT_VALUE] = self.given.decode("utf-8", "replace")
        if self.made is not None:
            found[OUTPUT_VALUE] = self.made.decode("utf-8", "replace")
        found[RECORDS] = self.records.decode("utf-8", "replace")
        return found

    def __getitem__(self, key: str) -> Value:
        return self.whole()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole())

    def __len__(self) -> int:
        return len(self.whole())

    def __contains__(self, key: object) -> bool:
        return key in self.whole()

    def __eq__(self, other: object) -> bool:
        return dict(other.items()) == self.whole() if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a mapping

    def get(self, key: str, default: Value | None = None) -> Value | None:
        """Return an attribute, or `default`."""
        if key == OUTCOME:  # asked for each span
            return self.outcome
        return self.whole().get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self.whole().keys()

    def items(self) -> ItemsView[str, Value]:
        """Return the pairs."""
        return self.whole().items()

    def values(self) -> ValuesView[Value]:
        """Return the values."""
        return self.whole().values()


Mapping.register(PlainAttributes)
