"""The plugin for pytest serves the tests that ask for it, and leaves all others alone."""

from __future__ import annotations

import os
import sys

import pytest

pytest_plugins = ["pytester"]

WORKFLOW = """
    import asyncio, pytest
    from otflow import StartEvent, StopEvent, Workflow, step

    class Double(Workflow):
        @step
        async def double(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=2 * ev.number)

    async def run(number):
        return await Double().run(number=number)
"""
OTHERS = ("asyncio", "anyio", "logfire", "hypothesispytest", "cov", "otflow", "cacheprovider")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a suite in a process of its own, with the plugin and without those of others."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    arguments = [word for name in OTHERS for word in ("-p", f"no:{name}")]

    def run(*suite: str, ini: str = "", plugin: bool = True) -> pytest.RunResult:
        pytester.makeini(f"[pytest]\n{ini}")
        pytester.makepyfile("".join(suite))
        return pytester.runpytest_subprocess(
            *arguments, *(["-p", "otflow.pytest_plugin"] if plugin else []), "-W", "error"
        )

    return run


def test_a_failed_test_shows_its_runs(run):
    """What ran is drawn into the report of a failed test, by fixture or by mark; of others nothing is shown."""
    ran = run(
        WORKFLOW,
        """
    def test_records(records):
        asyncio.run(run(4))
        assert [type(record).__name__ for record in records[:2]] == ["RunStarted", "EventReceived"]
        assert records == []

    @pytest.mark.otflow
    def test_marked():
        asyncio.run(run(5))
        raise AssertionError

    @pytest.mark.otflow(draw="never")
    def test_silent():
        asyncio.run(run(6))
        raise AssertionError

    def test_plain():
        asyncio.run(run(7))
        raise AssertionError

    def test_late(request):
        assert request.getfixturevalue("records") == []
        asyncio.run(run(8))
        raise AssertionError

    def test_no_run(records):
        raise AssertionError
    """,
    )
    ran.assert_outcomes(failed=6)
    shown = ran.stdout.str()
    assert shown.count("- otflow runs -") == 3
    assert all(f"double #3  number={number}" in shown for number in (4, 5, 8))
    assert not any(f"double #3  number={number}" in shown for number in (6, 7))


def test_runners_are_made(run):
    """The runner runs a workflow to its end, and its runs are recorded."""
    ran = run(
        WORKFLOW,
        """
    def test_runner(workflow_runner, records):
        ran = asyncio.run(workflow_runner(Double()).run(StartEvent(number=4)))
        assert ran.result == 8
        assert type(records[-1]).__name__ == "RunCompleted"

    @pytest.mark.otflow(draw="sometimes")
    def test_wrong_mark():
        pass
    """,
        ini="addopts = --strict-markers\n",
    )
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["*The mark otflow takes draw= one of failed, always, never, not 'sometimes'.*"])


def test_all_tests_can_be_recorded(run):
    """With the setting every failed test shows its last ten runs; a passed one shows them if it is told to."""
    ran = run(
        WORKFLOW,
        """
    def test_many():
        for number in range(12):
            asyncio.run(run(number))
        raise AssertionError

    @pytest.mark.otflow(draw="always")
    def test_always():
        asyncio.run(run(100))
    """,
        ini="otflow_record_all = true\naddopts = -rA\n",
    )
    ran.assert_outcomes(failed=1, passed=1)
    shown = ran.stdout.str()
    assert "2 earlier runs are not drawn." in shown
    assert shown.count("- otflow runs -") == 2
    assert "number=100" in shown


def test_other_suites_do_not_notice(run):
    """A suite that knows nothing of otflow runs as it would without: no SDK, no listener, no warning."""
    ran = run(
        """
    import sys

    def test_nothing_is_loaded():
        heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "grpc", "prometheus_client", "typer")
        assert [name for name in heavy if name in sys.modules] == []

    def test_nobody_listens():
        from otflow.dispatcher import default_dispatcher
        assert not default_dispatcher.listening
    """
    )
    ran.assert_outcomes(passed=2)
