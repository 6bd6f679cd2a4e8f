"""The names of a trace: complete, explained, and fit for all backends."""

from __future__ import annotations

import re

from hypothesis import given

from otflow.records import semconv
from otflow.records.semconv import ATTRIBUTES, EVENTS, LINKS, OUTCOMES, SPANS
from otflow.records.spans import to_spans
from tests.laws.strategies import restored_histories


def test_no_key_is_the_beginning_of_another():
    """Backends that build nested objects from dotted keys can hold all of them, in one object."""
    keys = set(ATTRIBUTES)
    assert [key for key in keys for other in keys if other.startswith(f"{key}.")] == []


def test_keys_are_plain():
    """Keys are lower-case words between dots, none of them a number."""
    assert [key for key in ATTRIBUTES if not re.fullmatch(r"[a-z][a-z_]*(\.[a-z][a-z_]*)*", key)] == []


def test_names_are_explained():
    """Each name has a meaning, in a sentence."""
    for table in (ATTRIBUTES, EVENTS, LINKS, OUTCOMES, SPANS):
        assert [name for name, meaning in table.items() if not meaning.endswith(".") or len(meaning) < 20] == []


def test_tables_are_complete():
    """Each name that is written down here stands in a table."""
    names = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    spans = {name.partition(" ")[0] for name in SPANS}
    assert names == {*ATTRIBUTES, *EVENTS, *LINKS, *OUTCOMES, *spans, semconv.SCOPE}


@given(restored_histories())
def test_traces_use_no_other_names(records):
    """Whatever a run does, its spans, attributes, links, outcomes and events have names of the tables."""
    for span in to_spans(records):
        assert re.fullmatch("|".join(re.sub(r"\{\w+\}", r"\\w+", name) for name in SPANS), span.name)
        assert set(span.attributes) <= set(ATTRIBUTES)
        assert span.attributes["otflow.outcome"] in OUTCOMES
        for link in span.links:
            assert link.kind in LINKS
            assert set(link.attributes) <= set(ATTRIBUTES)
        for event in span.events:
            assert event.name in EVENTS
            assert set(event.attributes) <= set(ATTRIBUTES)


@given(restored_histories())
def test_values_fit_all_backends(records):
    """A value is a text, a number, a truth or a list of texts or of numbers, and no list is mixed."""
    for span in to_spans(records):
        for value in span.attributes.values():
            values = value if isinstance(value, tuple) else (value,)
            assert len({type(each) for each in values}) == 1
            assert all(isinstance(each, str | bool | int | float) for each in values)
            assert all(abs(each) < 2**53 for each in values if isinstance(each, int))
