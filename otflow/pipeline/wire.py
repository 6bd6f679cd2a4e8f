"""Protocol buffers as bytes: the few wire types that OTLP needs, and attributes.

Lengths and small numbers come from tables made once, because a span is mostly these. The field numbers are those of
opentelemetry/proto/common/v1/common.proto. This room knows values, and nothing of spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct

__all__ = [
    "KEYED",
    "SIZED",
    "TEXTS",
    "Fragments",
    "add_attribute",
    "field",
    "integer",
    "number",
    "spell",
    "value",
    "varint",
]

Fragments = list[bytes]
"""Pieces of a message, in order."""

_TABLE = 1 << 12
_INT64 = 1 << 63
_KEPT_KEYS = 4096
_DOUBLE = Struct("<BBd").pack


def varint(n: int) -> bytes:
    """Write a number of at most 64 bits, which is not negative."""
    found = bytearray()
    while n > 0x7F:  # noqa: PLR2004  seven bits in each byte, the eighth says that more follow
        found.append(n & 0x7F | 0x80)
        n >>= 7
    found.append(n)
    return bytes(found)


_VARINTS = [varint(n) for n in range(_TABLE)]


def number(n: int) -> bytes:
    """Write a number as `varint` does, but faster."""
    if n < _TABLE:
        return _VARINTS[n]
    if n < 1 << 14:
        return bytes((n & 0x7F | 0x80, n >> 7))
    if n < 1 << 21:
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14))
    return varint(n)


SIZED = [b"\x4a" + text for text in _VARINTS]
"""Begins an attribute of a span (field 9) of this many bytes."""
TEXTS = [number(1 + len(_VARINTS[n]) + n) + b"\x0a" + _VARINTS[n] for n in range(_TABLE - 8)]
"""Begins a value that is a text of this many bytes."""
_INTS = [number(1 + len(text)) + b"\x18" + text for text in _VARINTS]
_ELEMENTS = [b"\x0a" + text for text in _INTS]
_TEXT_LIMIT = len(TEXTS)


def field(tag: bytes, data: bytes) -> bytes:
    """Write a field whose content has a length: a text, bytes, a message."""
    return tag + number(len(data)) + data


def spell(text: str) -> bytes:
    """Write a text as UTF-8, whatever is in it."""
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no message can hold
        return text.encode("utf-8", "replace")


def integer(n: int) -> bytes:
    """Write an integer of 64 bits as AnyValue, with its length before it.

    Raises:
        OverflowError: it has more.
    """
    if 0 <= n < _TABLE:
        return _INTS[n]
    if not -_INT64 <= n < _INT64:
        raise OverflowError(f"{n} has more than 64 bits")
    data = b"\x18" + number(n & 0xFFFFFFFFFFFFFFFF)
    return number(len(data)) + data


def _str(given: str) -> bytes:
    text = spell(given)
    return TEXTS[len(text)] + text if len(text) < _TEXT_LIMIT else _sized(field(b"\x0a", text))


def _bool(given: bool) -> bytes:
    return b"\x02\x10\x01" if given else b"\x02\x10\x00"


def _float(given: float) -> bytes:
    return _DOUBLE(9, 0x21, given)


def _array(given: Sequence[object]) -> bytes:
    return _sized(field(b"\x2a", b"".join([b"\x0a" + value(one) for one in given])))


_WRITERS: dict[type, Callable[..., bytes]] = {str: _str, int: integer, bool: _bool, float: _float, tuple: _array}
"""What nearly all values are; asking for the type is faster than a pattern."""


def value(given: object) -> bytes:
    """Write an AnyValue, with its length before it.

    Raises:
        OverflowError: an integer has more than 64 bits.
        TypeError: OTLP has no such value.
    """
    write = _WRITERS.get(type(given))
    return write(given) if write is not None else _value(given)


def _value(given: object) -> bytes:
    match given:
        case None:
            return b"\x00"
        case bool() | int() | float() | str():
            return next(write(given) for kind, write in _WRITERS.items() if isinstance(given, kind))
        case bytes():
            return _sized(field(b"\x3a", given))
        case Sequence():
            return _array(given)
        case Mapping():
            pairs = [field(b"\x0a", _pair(str(key), one)) for key, one in given.items()]
            return _sized(field(b"\x32", b"".join(pairs)))
        case _:
            raise TypeError(f"OTLP has no value like {given!r:.100}")


def _sized(data: bytes) -> bytes:
    return number(len(data)) + data


def _pair(key: str, given: object) -> bytes:
    return field(b"\x0a", spell(key)) + b"\x12" + value(given)


class _Keys(dict[str, tuple[bytes, int]]):
    """Begins a pair of this key: the bytes before the value, and how many they are."""

    def __missing__(self, key: str) -> tuple[bytes, int]:
        start = field(b"\x0a", spell(key)) + b"\x12"
        if len(self) >= _KEPT_KEYS:  # users may make up keys without end
            self.clear()
        self[key] = found = (start, len(start))
        return found


KEYED = _Keys()
"""By key: the bytes of a pair before its value, and how many they are."""


def add_attribute(parts: Fragments, tag: bytes, key: str, given: object) -> bool:
    """Add a pair of key and value under a tag; tell whether that was possible."""
    try:
        data = value(given)
    except (OverflowError, RecursionError, TypeError):  # as the SDK: the others count
        return False
    start, length = KEYED[key]
    parts += (tag, number(length + len(data)), start, data)
    return True
