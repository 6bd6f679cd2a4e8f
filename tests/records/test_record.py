"""The vocabulary: closed, frozen, and small enough to be written a million times."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from otflow.records import record as vocabulary
from otflow.records.body import Body
from otflow.records.codec import encode
from otflow.records.record import (
    FORMAT,
    EventSent,
    Failure,
    Record,
    RunFailed,
    RunStarted,
    StepCompleted,
)
from tests.records.test_codec import RECORDS


def test_the_union_is_all_there_is():
    """Every record class stands in the union and in `__all__`, and has a strategy that the codec is tested with."""
    kinds = set(get_args(Record))
    facts = {
        each
        for each in vars(vocabulary).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and "seq" in each.__struct_fields__
    }
    assert facts - {vocabulary._Fact} == kinds == set(RECORDS)
    others = {"ENDINGS", "FORMAT", "About", "Ending", "Failure", "Record"}
    assert {kind.__name__ for kind in kinds} | others == set(vocabulary.__all__)
    assert get_args(vocabulary.Ending) == vocabulary.ENDINGS


@pytest.mark.parametrize("kind", get_args(Record), ids=lambda kind: kind.__name__)
def test_every_record_has_a_place(kind):
    """Each record begins with its number, its run and its time."""
    assert kind.__struct_fields__[:3] == ("seq", "run", "at")
    assert kind.__struct_config__.tag == kind.__name__


def test_facts_do_not_change():
    """A record is frozen."""
    with pytest.raises(AttributeError, match="immutable"):
        StepCompleted(1, "run", 0, 1, 1).attempt = 2


def test_what_is_usual_is_not_written():
    """Fields that have their usual value take no room."""
    assert encode(EventSent(1, "r", 0, 3, "app:B", Body({}))) == (
        b'{"record":"EventSent","seq":1,"run":"r","at":0,"invocation":3,"type":"app:B","body":{}}'
    )
    assert encode(RunFailed(1, "r", 0, Failure("E", "m"))) == (
        b'{"record":"RunFailed","seq":1,"run":"r","at":0,"error":{"type":"E","message":"m"}}'
    )


def test_a_start_names_its_format():
    """A run knows the version of the vocabulary that it was recorded in."""
    assert RunStarted(1, "r", 0, "flow", "digest").format == FORMAT
