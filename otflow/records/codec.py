"""Records as JSON and back, one object per record with its kind under `record`.

Bodies stand in the JSON as what they say, not as text in text, so that a journal can be read and queried. Of a body
with something to hide it is what may be told; only who saves a run writes the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from otflow.records.body import Body
from otflow.records.record import Record

__all__ = ["decode", "encode", "encode_whole", "read_body", "write_body", "write_whole"]


def write_body(value: object) -> msgspec.Raw:
    """Write what JSON has no word for, which is a body; for encoders of records."""
    if isinstance(value, Body):
        return msgspec.Raw(value.json)
    raise TypeError(f"a record holds no {type(value).__name__}")


def write_whole(value: object) -> msgspec.Raw:
    """Write a body with all that is in it; for what a user saves."""
    if isinstance(value, Body):
        return msgspec.Raw(value.whole)
    raise TypeError(f"saved data holds no {type(value).__name__}")


def read_body(_: type, value: object) -> Body:
    """Read a body, the only type in records that JSON has no word for; for decoders of records."""
    return Body(json=msgspec.json.encode(value))


_ENCODER = msgspec.json.Encoder(enc_hook=write_body)
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record, dec_hook=read_body)


def encode(record: Record) -> bytes:
    """Write one record as a JSON object."""
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        return _ENCODER.encode(_mend(record))


def _mend(value: object) -> object:
    """Spell out what no JSON can hold: halves of surrogate pairs, as messages of errors about file names have."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case tuple():
            return tuple(map(_mend, value))
        case msgspec.Struct():
            return type(value)(*(_mend(getattr(value, name)) for name in value.__struct_fields__))
        case _:
            return value


_WHOLE = msgspec.json.Encoder(enc_hook=write_whole)


def encode_whole(record: Record) -> bytes:
    """Write one record as a JSON object, with all that is in its payloads."""
    try:
        return _WHOLE.encode(record)
    except UnicodeEncodeError:
        return _WHOLE.encode(_mend(record))


def encode_all(records: Sequence[Record]) -> bytes:
    """Write records as one JSON array."""
    try:
        return _ENCODER.encode(records)
    except UnicodeEncodeError:
        return _ENCODER.encode([_mend(record) for record in records])


def decode(data: bytes | str) -> Record:
    """Read one record from a JSON object.

    Raises:
        msgspec.DecodeError: the data is no JSON.
        msgspec.ValidationError: the JSON is no record of this vocabulary; the message says where.
    """
    return _DECODER.decode(data)
