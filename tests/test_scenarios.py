"""Each scenario, driven in more than one way, gives the records that stand in its file.

`OTFLOW_REWRITE=1 python -m pytest tests/test_scenarios.py` writes the files anew; review the difference.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from otflow.records.spans import from_spans, to_spans
from tests.drivers import CoreDriver
from tests.runtime_driver import RuntimeDriver
from tests.scenario import Scenario, print_scenario, read_scenario, run_scenario

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
SCENARIOS = [pytest.param(read_scenario(path), id=path.stem) for path in FILES]
REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_core(scenario: Scenario) -> None:
    """The core decides the records that stand in the file."""
    printed = print_scenario(scenario, run_scenario(scenario, CoreDriver(scenario)))
    if REWRITE:
        scenario.path.write_text(printed, encoding="utf-8")
    assert printed == scenario.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_runtime(scenario: Scenario) -> None:
    """A real workflow whose steps do what the file says records what stands in it."""
    if scenario.only_core:
        pytest.skip(scenario.only_core)
    with RuntimeDriver(scenario) as driver:
        printed = print_scenario(scenario, run_scenario(scenario, driver))
    assert printed == scenario.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_spans(scenario: Scenario) -> None:
    """The records come back from their spans, in whatever order these arrive, and print the same."""
    batches = run_scenario(scenario, CoreDriver(scenario))
    spans = to_spans([record for _, records in batches for record in records])
    Random(0).shuffle(spans)
    back = iter(from_spans(spans))
    again = [(line, list(islice(back, len(records)))) for line, records in batches]
    assert print_scenario(scenario, again) == scenario.path.read_text(encoding="utf-8")
    assert list(back) == []
