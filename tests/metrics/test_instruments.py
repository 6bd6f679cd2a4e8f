"""The table of instruments: fit for all backends, and explained to people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otflow.metrics import instruments
from otflow.metrics.instruments import (
    BY_NAME,
    DISPOSITIONS,
    INSTRUMENTS,
    LABELS,
    attributes_of,
    label_name,
    prometheus_name,
    read_opt_in,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_names_are_plain_and_different():
    """Names are lower-case words between dots, and stay different in Prometheus."""
    names = [it.name for it in INSTRUMENTS]
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+", name)] == []
    assert len(BY_NAME) == len({prometheus_name(it) for it in INSTRUMENTS}) == len(INSTRUMENTS)


def test_buckets_belong_to_histograms():
    """Histograms have bounds that go up, and nothing else has any."""
    for it in INSTRUMENTS:
        assert (it.kind == "histogram") == bool(it.buckets), it.name
        assert list(it.buckets) == sorted(set(it.buckets)), it.name


def test_bounds_are_whole_in_what_cells_count():
    """A bound in seconds is a whole number of nanoseconds, so that nothing is counted beside its bucket."""
    for it in INSTRUMENTS:
        if it.unit == "s":
            assert [bound for bound in it.buckets if round(bound * 1e9) / 1e9 != bound] == []


def test_labels_are_bounded():
    """Every label stands in the table, and none of them is an id, a message, or who it was."""
    assert {label for it in INSTRUMENTS for label in it.labels} == set(LABELS)
    words = {word for label in LABELS for word in label.split(".")}
    assert words & {"id", "run", "session", "user", "message", "key", "seq", "attempt"} == set()


def test_everything_is_explained():
    """Each metric, label and disposition has a meaning, in a sentence."""
    meanings = [it.description for it in INSTRUMENTS] + [*LABELS.values(), *DISPOSITIONS.values()]
    assert [text for text in meanings if not text.endswith(".") or len(text) < 20] == []


def test_labels_become_attributes():
    """An absent label is no attribute, and a truth is one in OpenTelemetry too."""
    labels = ("Flow", "go", "ok", "", "true")
    assert attributes_of(instruments.STEP_DURATION, labels) == {
        "otflow.workflow.name": "Flow",
        "otflow.step.name": "go",
        "otflow.outcome": "ok",
        "otflow.retry": True,
    }


def test_opting_in():
    """The variable holds names between commas."""
    assert instruments.OPT_IN in read_opt_in(f"http, {instruments.OPT_IN}")
    assert instruments.OPT_IN not in read_opt_in("")


@pytest.mark.parametrize("it", INSTRUMENTS, ids=lambda it: it.name)
def test_the_page_explains_the_metric(it):
    """docs/metrics.md has each metric in a row with both names, its unit and its labels, and its buckets below."""
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(f"| `{it.name}` | `")]
    assert len(rows) == 1
    assert f"`{prometheus_name(it)}`" in rows[0]
    assert f"| {it.kind} |" in rows[0]
    assert set(re.findall(r"`([a-z_.]+)`", rows[0].split("|")[5])) == set(it.labels)
    if it.buckets:
        bounds = " ".join(f"{bound:g}" if bound < 1e5 else str(bound) for bound in it.buckets)
        assert f"| `{it.name}` | {bounds} |" in text


@pytest.mark.parametrize("label", LABELS)
def test_the_page_explains_the_label(label):
    """docs/metrics.md has each label in a row, with its name in Prometheus and what it means."""
    text = PAGE.read_text(encoding="utf-8")
    assert f"| `{label}` | `{label_name(label)}` | {LABELS[label]} |" in text


def test_the_page_knows_no_other_metrics():
    """Every name in docs/metrics.md that looks like a metric of otflow is one."""
    text = PAGE.read_text(encoding="utf-8")
    known = {prometheus_name(it) for it in INSTRUMENTS} | {label_name(label) for label in LABELS}
    known |= {f"{prometheus_name(it)}_{end}" for it in INSTRUMENTS if it.buckets for end in ("bucket", "count", "sum")}
    assert {name for name in re.findall(r"\botflow_[a-z_]+", text) if name not in known} == set()
    dotted = set(re.findall(r"`(otflow\.(?:run|step|hitl|state|checkpoint|events)[a-z_.]*)`", text))
    assert dotted - set(BY_NAME) - set(LABELS) == set()
