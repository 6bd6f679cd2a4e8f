"""Refusals: what a file is that holds no spans, as far as its first bytes tell, so that a message can say it.

It knows bytes, and not where they come from.
"""

from __future__ import annotations

import msgspec

__all__ = ["describe_begin", "name_signal"]

_SHOWN = 40  # characters, or keys in all
_SIGNALS = {"resourceLogs": "logs", "resourceMetrics": "metrics", "resourceProfiles": "profiles"}
_FORMS = {
    b"SQLite format 3\0": "a database of SQLite",
    b"\x7fELF": "a program",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"PAR1": "a file of Parquet",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"BZh": "compressed with bzip2; decompress it first",
    b"\xfd7zXZ": "compressed with xz; decompress it first",
}


class _Signals(msgspec.Struct, rename="camel"):
    resource_logs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    resource_metrics: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    resource_profiles: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Signals)
_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def name_signal(data: bytes) -> str:
    """Name what a line of OTLP holds instead of spans, as collectors write it; empty if it is something else.

    Args:
        data: JSON.
    """
    try:
        found = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
    told = msgspec.structs.asdict(found)
    return next((name for key, name in _SIGNALS.items() if told[_snake(key)] is not msgspec.UNSET), "")


def _snake(key: str) -> str:
    return f"resource_{key.removeprefix('resource').lower()}"


def describe_begin(begin: bytes) -> str:
    """Say what a file seems to be.

    Args:
        begin: its first bytes, without blanks before them.
    """
    for form, name in _FORMS.items():
        if begin.startswith(form):
            return f"it is {name}"
    line = begin.splitlines()[0]
    try:
        keys = list(_KEYS.decode(line))
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    else:
        names = ", ".join(map(repr, keys))
        return f"it is JSON with the keys {_cut(names)}" if keys else "it is JSON without any key"
    try:
        text = line[:_SHOWN].decode("ascii")
    except UnicodeError:
        text = ""
    if text.isprintable() and text:
        return f"it is text that begins with {_cut(text)!r}"
    return f"it begins with the bytes {begin[:8].hex(' ')}"


def _cut(text: str) -> str:
    return text if len(text) < _SHOWN else f"{text[:_SHOWN]}..."
