"""Pages: where the records of a span go on when there is no room for more in it.

Each page becomes a span of its own. There is a limited number of them, and what has no end (writes to the state and to
the stream) does not go on pages. A page knows records and their weight, and not whose they are.
"""

from __future__ import annotations

import msgspec

from otflow.records.codec import encode_all
from otflow.records.record import ContextWritten, Record, StreamWritten

__all__ = ["MAX_PAGES", "Page", "Pages", "may_page", "render"]

MAX_PAGES = 64
"""How many further spans an open span may fill with its records."""

_WORTH_PAGING = 8192  # bytes of records that a span must be allowed to have, for further ones to be made


class Page(msgspec.Struct, eq=False):
    """Records for a further span: the numbers and times of the first and the last one, and their JSON."""

    first: int
    start: int
    last: int = 0
    end: int = 0
    texts: list[bytes] = []


class Pages(msgspec.Struct, eq=False):
    """The pages of one span.

    Attributes:
        limit: how many bytes of records there may be on a page.
        full: pages that are full, for whoever makes spans of them.
    """

    limit: int
    full: list[Page] = []
    _count: int = 0
    _page: Page | None = None
    _size: int = 0
    _fresh: list[Record] = []

    def take(self, record: Record, weight: int) -> bool:
        """Put a record on the current page, or on a new one; tell whether there was room.

        Args:
            record: the record, small enough to be there.
            weight: how many bytes of JSON it takes, at most.
        """
        if weight > self.limit:
            return False
        if self._size + weight > self.limit:
            self.turn()
        if self._count >= MAX_PAGES:
            return False
        self._fresh.append(record)
        self._size += weight
        return True

    def write(self) -> None:
        """Write what was put on the page as JSON, so that what records hold can go."""
        records, self._fresh = self._fresh, []
        if not records:
            return
        page = self._page = self._page or Page(records[0].seq, records[0].at)
        page.last, page.end = records[-1].seq, max(page.start, records[-1].at)
        page.texts.append(encode_all(records)[1:-1])

    def turn(self) -> None:
        """Finish the current page, if there is something on it."""
        self.write()
        if self._page is not None:
            self.full.append(self._page)
            self._count += 1
        self._page, self._size = None, 0


def may_page(record: Record, limit: int) -> bool:
    """Tell whether a record may go on a page, of which each has so many bytes."""
    return limit >= _WORTH_PAGING and type(record) is not ContextWritten and type(record) is not StreamWritten


def render(texts: list[bytes]) -> str:
    """Return records as a JSON array.

    Args:
        texts: their JSON, one after the other.
    """
    return (b"[" + b",".join(texts) + b"]").decode("utf-8", "replace")
