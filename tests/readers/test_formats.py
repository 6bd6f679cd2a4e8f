"""Every way in which spans are kept gives back the records that went in, and names what it cannot give."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otflow
import otflow.readers
from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.record import ContextWritten, Record, RunCancelled, RunCompleted, RunFailed, RunTimedOut
from otflow.records.spans import SpanData, from_spans, to_spans
from tests.laws.strategies import Script, histories, scripts, segments
from tests.readers.truth import Truth, check_part
from tests.readers.writing import FORMATS, foreign

GOLDEN = Path(__file__).parents[1] / "integration" / "golden"
ENDS = RunCompleted | RunFailed | RunCancelled | RunTimedOut

formats = st.sampled_from(sorted(FORMATS))
seeds = st.integers(0, 2**32)


def mix(spans: list[SpanData], dice: Random) -> list[SpanData]:
    """Give spans as they come from several processes: in no order, some twice, between those of other libraries."""
    mixed = [*spans, *dice.sample(spans, len(spans) // 3), *(foreign(place) for place in range(dice.randint(0, 3)))]
    dice.shuffle(mixed)
    return mixed


def spans_of(script: Script) -> list[SpanData]:
    """Give the spans of a run with all that it did before it was restored."""
    return [span for records in segments(script) for span in to_spans(records)]


def read(name: str, spans: list[SpanData]) -> tuple[list[otflow.readers.RunInfo], list[Execution]]:
    """Write spans to a file, and read the list of runs and the runs."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        FORMATS[name](path, spans)
        source = otflow.open(path)
        infos = list(source.runs())
        return infos, [source.run(info.id) for info in infos]


def missing(known: tuple[Record, ...], until: int) -> set[int]:
    """Give the numbers that are not there, by hand."""
    return set(range(1, until + 1)) - {record.seq for record in known}


@settings(max_examples=40)
@given(histories(), formats, seeds)
def test_what_went_in_comes_out(records, name, seed):
    """Whatever the order of the spans, and whatever stands between them, the records are those of the run."""
    infos, [found] = read(name, mix(to_spans(records), Random(seed)))
    assert list(found.records) == records
    assert found.complete == isinstance(records[-1], ENDS)
    [info] = infos
    assert (info.records, info.outcome, info.workflow) == (len(records), found.outcome, found.workflow)
    assert (info.started, info.ended) == (found.history.started, found.history.ended)


@settings(max_examples=40)
@given(scripts(), formats, seeds)
def test_a_restored_run_is_one_run(script, name, seed):
    """What a run had done after the point from which it was restored does not count, in no order of the spans."""
    spans = spans_of(script)
    [info], [found] = read(name, mix(spans, Random(seed)))
    assert list(found.records) == from_spans(spans)
    assert info.records == len(found.records)
    assert not [gap for gap in found.gaps if gap.last]


def lives(script: Script, more: int) -> tuple[list[list[Record]], list[Record]]:
    """Give what each process recorded of a run that each left further than it was saved, and what of it counts."""
    told: list[list[Record]] = []
    counting: dict[int, Record] = {}
    for records in segments(script):
        counting = {seq: record for seq, record in counting.items() if seq < records[0].seq}
        last = records[-1]
        lost = [
            ContextWritten(last.seq + number, last.run, last.at, 0, "lost", Body(json=b"1"))
            for number in range(1, 1 + (0 if isinstance(last, ENDS) else more))
        ]
        told.append([*records, *lost])
        counting.update({record.seq: record for record in told[-1]})
    return told, [counting[seq] for seq in sorted(counting)]


@settings(max_examples=60)
@given(scripts(), st.integers(1, 30), formats, seeds)
def test_what_was_superseded_does_not_count(script, more, name, seed):
    """Of what a process did after the run was saved from which another went on, nothing is told, also in lists."""
    told, counting = lives(script, more)
    spans = [span for records in told for span in to_spans(records)]
    [info], [found] = read(name, mix(spans, Random(seed)))
    assert list(found.records) == counting
    assert (info.records, info.outcome) == (len(counting), found.outcome)
    assert (info.started, info.ended) == (counting[0].at, counting[-1].at)


@settings(max_examples=30)
@given(scripts(), histories(), formats, seeds)
def test_a_used_id_means_the_last_run(script, records, name, seed):
    """Where a run id was used again, nothing is told of the run before, wherever that one went on."""
    told, _ = lives(script, 3)
    later = 1 + max(record.at for some in told for record in some)
    again = [msgspec.structs.replace(record, at=record.at + later) for record in records]
    spans = [span for some in (*told, again) for span in to_spans(some)]
    [info], [found] = read(name, mix(spans, Random(seed)))
    assert list(found.records) == again
    assert info.records == len(again)


@settings(max_examples=60)
@given(scripts(), formats, seeds)
def test_what_is_lost_is_named(script, name, seed):
    """With a tenth of the spans gone, what is told is true, and every number that is missing stands in a gap."""
    dice = Random(seed)
    spans = spans_of(script)
    branches = {str(span.attributes.get("otflow.branch", "")) for span in spans}
    kept = [span for span in spans if dice.random() >= 0.1]
    infos, executions = read(name, mix(kept, dice))
    for info, found in zip(infos, executions, strict=True):
        assert (info.outcome, info.records, info.workflow) == (found.outcome, len(found.records), found.workflow)
        top = max(record.seq for record in found.records)
        named = {seq for gap in found.gaps if gap.last for seq in range(gap.first, gap.last + 1)}
        assert missing(found.records, top) <= named
        ended = any(isinstance(record, ENDS) for record in found.records)
        assert [gap for gap in found.gaps if not gap.last] == [] if ended else found.gaps[-1].last == 0
        assert found.complete == (len(found.records) == top and ended)
        if {str(span.attributes.get("otflow.branch", "")) for span in kept} == branches:
            assert named == missing(found.records, top)
            check_part(found, Truth((), tuple(from_spans(spans))))


@settings(max_examples=30)
@given(st.lists(histories(inputs=15), min_size=2, max_size=4), formats, seeds)
def test_runs_are_kept_apart(runs, name, seed):
    """Runs whose spans come mixed are told apart, and each is found by the beginning of its id."""
    named = [
        [
            type(record)(**{**{f: getattr(record, f) for f in record.__struct_fields__}, "run": f"{place}-run"})
            for record in records
        ]
        for place, records in enumerate(runs)
    ]
    spans = mix([span for records in named for span in to_spans(records)], Random(seed))
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        FORMATS[name](path, spans)
        source = otflow.open(path)
        for place, records in enumerate(named):
            assert list(source.run(f"{place}-").records) == records
        assert {each.run_id: list(each.records) for each in otflow.readers.read_all(source)} == {
            records[0].run: records for records in named
        }


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_what_servers_answer_is_read(name: str) -> None:
    """The files that the real servers gave hold one whole run."""
    source = otflow.open(GOLDEN / name)
    [info] = source.runs()
    assert (info.id, info.workflow, info.outcome, info.records) == ("small-run", "Small", "completed", 28)
    found = source.run("small")
    assert (found.complete, found.losses, found.state()) == (True, (), {"asked": True})
    assert [record.seq for record in found.records] == list(range(1, 29))
    assert found == otflow.open(GOLDEN / "collector-file.jsonl").run("small-run")
