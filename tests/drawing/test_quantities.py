"""Quantities in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.quantities import count, enumerate_some, format_duration, name_type, preview, show_value, tally
from otflow.records.body import Body


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (-5, "0 ms"),
        (0, "0 ms"),
        (4_000, "0 ms"),
        (38_000, "0.04 ms"),
        (1_000_000, "1 ms"),
        (12_345_678, "12.3 ms"),
        (999_499_999, "999 ms"),
        (999_500_000, "1 s"),
        (59_949_000_000, "59.9 s"),
        (59_960_000_000, "1 min"),
        (90_000_000_000, "1.5 min"),
        (5_400_000_000_000, "1.5 h"),
        (3_600_000_000_000 * 5000, "5,000 h"),
    ],
)
def test_durations(nanoseconds, text):
    """A duration has about three digits and the unit in which they say most."""
    assert format_duration(nanoseconds) == text


@given(st.integers(0, 10**17))
def test_durations_are_short(nanoseconds):
    """A duration fits into its column, with room for a sign before it."""
    assert len(format_duration(nanoseconds)) <= 8


def test_counts():
    """A noun agrees with its number; of many words only some are listed."""
    assert [count(n, "retry") for n in (0, 1, 1200)] == ["0 retries", "1 retry", "1,200 retries"]
    assert tally(["a", "b", "a"], "x") == "2 x a, b"
    assert enumerate_some(["1", "2", "3", "4"], "...") == "1, 2, 3, 4"
    assert enumerate_some(["1", "2", "3", "4", "5"], "...") == "1, 2 ... 5"
    assert [name_type(key) for key in ("m.x:Outer.Event", "builtins.ValueError", "Plain", "")] == [
        "Event",
        "ValueError",
        "Plain",
        "?",
    ]


def test_values():
    """A value stands on one line and is cut short; a huge one is only measured."""
    assert [show_value(Body(value)) for value in ("a\nb", 1, None, [1, "x"], {"k": 1.5})] == [
        '"a b"',
        "1",
        "null",
        '[1,"x"]',
        '{"k":1.5}',
    ]
    assert show_value(Body(object())) == "<builtins.object>"
    assert len(show_value(Body("x" * 1000))) == 200
    assert show_value(Body("x" * 100_000)) == "100,002 bytes"


def test_previews():
    """A preview has the plain fields that were not shown before with the same value."""
    seen: dict[str, str] = {}
    assert preview(Body({"name": "Ada\x1b", "age": 36, "tags": ["x"], "note": ""}), seen) == (
        "name=Ada\N{REPLACEMENT CHARACTER}",
        "age=36",
    )
    assert preview(Body({"name": "Ada\x1b", "age": 37}), seen) == ("age=37",)
    assert preview(Body([1]), seen) == preview(Body(object()), seen) == preview(Body({"x": "y" * 100_000}), seen) == ()
