"""The plugin for pytest: the records of a test's runs, a runner, and a drawing of what ran when a test fails.

It is loaded into every suite of an environment that has otflow, so it does nothing there until a test asks for it: by a
fixture, by the mark `otflow`, or by the setting `otflow_record_all`. It knows what it shows, and not how runs work.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest

from otflow.drawing.line import plain
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.history import read_runs
from otflow.records.record import Record
from otflow.testing import WorkflowTestRunner, capture_records
from otflow.workflow import Workflow

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "records",
    "workflow_runner",
]

_MARK = "otflow"
_RECORD_ALL = "otflow_record_all"
_WIDTH = 100
_MAX_RUNS = 10
_TITLE = "otflow runs"
_RECORDS = pytest.StashKey[list[Record]]()
_WHEN = ("failed", "always", "never")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting by which the runs of all tests are recorded."""
    parser.addini(_RECORD_ALL, "record the otflow runs of every test, and draw them if it fails", "bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about the mark."""
    config.addinivalue_line(
        "markers",
        f'{_MARK}(draw="failed"): record the otflow runs of the test; draw them if it "failed", "always" or "never"',
    )


@pytest.fixture
def records(request: pytest.FixtureRequest) -> Iterator[list[Record]]:
    """The records of the runs of the test, as they are emitted; those of workflows with a dispatcher of their own not.

    Returns:
        A list that grows.
    """
    if _RECORDS in request.node.stash:
        yield request.node.stash[_RECORDS]
        return
    with capture_records() as recorded:  # asked for while the test runs, by getfixturevalue()
        request.node.stash[_RECORDS] = recorded
        yield recorded


@pytest.fixture
def workflow_runner(records: list[Record]) -> Callable[[Workflow], WorkflowTestRunner]:
    """What makes a runner for a workflow, which runs it to its end and collects the events of its stream.

    Returns:
        A function that takes a workflow: `ran = await workflow_runner(MyWorkflow()).run(StartEvent(...))`.
    """
    del records  # asked for, so that the runs are recorded
    return WorkflowTestRunner


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Record the runs of a test that asks for it, from before its fixtures are set up."""
    del nextitem
    if not _is_wanted(item):
        return (yield)
    with capture_records() as recorded:
        item.stash[_RECORDS] = recorded
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a mark that says what nobody understands."""
    when = _when_drawn(item)
    if when not in _WHEN:
        pytest.fail(f"The mark otflow takes draw= one of {', '.join(_WHEN)}, not {when!r}.", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Draw the runs of a test into its report."""
    report = yield
    recorded = item.stash.get(_RECORDS, None)
    if recorded and call.when == "call" and _is_drawn(item, report):
        report.sections.append((_TITLE, _draw(list(recorded))))
    return report


def _is_wanted(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "records" in names or bool(item.config.getini(_RECORD_ALL)) or item.get_closest_marker(_MARK) is not None


def _is_drawn(item: pytest.Item, report: pytest.TestReport) -> bool:
    when = _when_drawn(item)
    return when == "always" or (when == "failed" and report.failed)


def _when_drawn(item: pytest.Item) -> object:
    mark = item.get_closest_marker(_MARK)
    return mark.kwargs.get("draw", "failed") if mark is not None else "failed"


def _draw(recorded: list[Record]) -> str:
    try:
        runs = read_runs(recorded)
        pictures = [
            "\n".join(plain(line) for line in (*draw_run(run, width=_WIDTH), *draw_summary(run, width=_WIDTH)))
            for run in runs[-_MAX_RUNS:]
        ]
    except Exception as error:  # a drawing must not turn a failed test into a broken session
        return f"The runs cannot be drawn: {error!r}"
    more = len(runs) - _MAX_RUNS
    return "\n\n".join([*([f"{more:,} earlier runs are not drawn."] if more > 0 else []), *pictures])
