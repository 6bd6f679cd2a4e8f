"""Records as JSON and back, one object per record with its kind under `record`.

Bodies stand in the JSON as what they say, not as text in text, so that a journal can be read and queried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from otflow.records.body import Body
from otflow.records.record import Record

__all__ = ["decode", "encode", "encode_all"]


def _write_body(value: object) -> object:
    if isinstance(value, Body):
        return msgspec.Raw(value.json)
    raise TypeError(f"a record holds no {type(value).__name__}")


def _read_body(kind: type, value: object) -> object:
    if kind is Body:
        return Body(json=msgspec.json.encode(value))
    raise TypeError(f"a record holds no {kind.__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_write_body)
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record, dec_hook=_read_body)


def encode(record: Record) -> bytes:
    """Write one record as a JSON object."""
    return _ENCODER.encode(record)


encode_all: Callable[[Sequence[Record]], bytes] = _ENCODER.encode
"""Writes records as one JSON array."""


def decode(data: bytes | str) -> Record:
    """Read one record from a JSON object.

    Raises:
        msgspec.DecodeError: the data is no JSON.
        msgspec.ValidationError: the JSON is no record of this vocabulary; the message says where.
    """
    return _DECODER.decode(data)
