"""The commands over runs, in this process: what they print, what they leave behind, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from otflow.cli.app import main
from otflow.drawing.line import measure
from otflow.journal import Journal, JournalSource
from otflow.tagging import tagged
from tests.cli.test_demo import ROOT, environment
from tests.drawing.runs import trip
from tests.pipeline.receiver import receiving

SHOP = "tests.cli.shop:Shop"
TEA = ["--input", 'goods=["tea", "cup"]']
QUICK = """
from otflow import StartEvent, StopEvent, Workflow, step


class Quick(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)
"""
SILENT = """
from otflow import Context, HumanResponseEvent, StartEvent, StopEvent, Workflow, step


class Silent(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=(await ctx.wait_for_event(HumanResponseEvent)).response)
"""


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    def json(self) -> object:
        """Read what it printed."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def otflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give the command, in an empty folder and 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])

    def call(*arguments: object) -> Said:
        code = main([str(each) for each in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def shop(otflow: Command) -> Command:
    """Give the command, with two runs in the journal."""
    assert otflow("run", SHOP, *TEA, "--run-id", "first").code == 0
    assert otflow("run", SHOP, "-i", 'goods=["cup", "tea"]', "--run-id", "second").code == 0
    return otflow


def is_one_line(said: Said, *words: str) -> None:
    """See that a complaint is one line, with these words in it."""
    [line] = said.err.splitlines()
    assert line.startswith("otflow: ")
    assert [word for word in words if word not in line] == []


# --- run ------------------------------------------------------------------------------------------------------------


def test_run_prints_the_result_and_nothing_else(otflow: Command) -> None:
    """The result goes to stdout, all else to stderr, and the records into a journal that git does not see."""
    said = otflow("run", SHOP, *TEA)
    assert (said.code, said.json()) == (0, {"size": 6})
    assert "pack ValueError: no tea yet" in said.err
    assert "completed in" in said.err
    assert Path(".otflow", ".gitignore").read_text() == "*\n"
    [info] = JournalSource(".otflow/runs.db").runs()
    assert (info.workflow, info.outcome) == ("Shop", "completed")


def test_run_takes_json(otflow: Command) -> None:
    """Fields come from a file too; those that are named one by one count more, and a text stays a text."""
    Path("order.json").write_text('{"goods": ["cup"], "customer": "eve"}')
    said = otflow("run", SHOP, "--input-json", "order.json", "-i", "customer=7", "--json", "-q", "--run-id", "r")
    assert (said.code, said.err) == (0, "")
    told = said.json()
    assert isinstance(told, dict)
    assert told | {"seconds": 0} == {
        "run": "r",
        "workflow": "Shop",
        "outcome": "completed",
        "seconds": 0,
        "result": {"size": 3},
    }
    assert otflow("show", "r", "--json").json()["state"] == {"customer": "7", "count": 1}


def test_run_fails(otflow: Command) -> None:
    """A run that fails ends with 1, one line that says why, and JSON if that was asked for."""
    said = otflow("run", SHOP, "-i", 'goods=["bomb"]', "-q", "--json")
    assert said.code == 1
    is_one_line(said, "failed", "no bomb yet", "otflow tree")
    assert said.json()["outcome"] == "failed"


def test_run_leaves_a_question(otflow: Command) -> None:
    """A run that asks where nobody answers is left as it stands, and the answer may come later."""
    said = otflow("run", SHOP, *TEA, "-i", "customer=human", "--run-id", "ask")
    assert (said.code, said.out) == (4, "")
    assert "otflow resume ask --answer TEXT" in said.err
    assert otflow("list", "--json").json()[0]["outcome"] == "paused"
    assert "waits for HumanResponseEvent" in otflow("show", "ask").out
    again = otflow("resume", "ask")
    assert again.code == 4
    answered = otflow("resume", "ask", "--answer", "do")
    assert (answered.code, answered.out) == (0, "do\n")
    done = otflow("resume", "ask")
    assert done.code == 1
    is_one_line(done, "has ended (completed)")


def test_run_takes_the_journal_that_is_named(otflow: Command) -> None:
    """--journal names the file, and --from reads it."""
    assert otflow("run", SHOP, *TEA, "--journal", "other.db", "--run-id", "r").code == 0
    assert not Path(".otflow").exists()
    assert otflow("list", "other.db", "--json").json()[0]["id"] == "r"
    assert otflow("list", "--from", "other.db", "--json").json()[0]["id"] == "r"
    assert otflow("list").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "tests.cli.shop:Shap"], 2, "tests.cli.shop has no Shap. There is tests.cli.shop:Shop"),
        (["run", "tests.cli.nothing:Shop"], 2, "there is no module tests.cli.nothing"),
        (["run", "tests.cli.shop:Needy"], 2, "cannot be made without arguments"),
        (["run", SHOP, "-i", "goods"], 2, "is no pair: write name=value"),
        (["run", SHOP, "-i", "goods=7"], 2, "goods: Input should be a valid list"),
        (["run", SHOP, "--input-json", "nothing.json"], 2, "nothing.json cannot be read"),
        (["run", SHOP, "--timeout", "0"], 2, "is no time"),
        (["run"], 2, "Missing argument 'WORKFLOW'"),
        (["list"], 3, "there is no journal .otflow/runs.db yet. Start a run with `otflow run module:Workflow`"),
        (["list", "nothing.db"], 3, "there is no file nothing.db"),
        (["tree", "nothing.db#x"], 3, "there is no journal"),
        (["replay"], 2, "--against module:Workflow"),
        (["export"], 2, "say where the runs go"),
        (["export", "--to", "ftp://x"], 2, "use http, https, grpc or grpcs"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
    ],
)
def test_mistakes(otflow: Command, arguments: list[str], code: int, words: str) -> None:
    """A mistake is one line that says what to do, with its code."""
    said = otflow(*arguments)
    assert said.code == code
    is_one_line(said, words)


# --- looking --------------------------------------------------------------------------------------------------------


def test_list(shop: Command) -> None:
    """Runs are listed latest first, and can be chosen by workflow and outcome."""
    lines = shop("list").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["second", "Shop", "completed"], ["first", "Shop", "completed"]]
    assert shop("list", "-n", 1, "--json").json()[0]["id"] == "second"
    assert shop("list", "--outcome", "failed", "--json").json() == []
    assert "no run like this" in shop("list", "-w", "Other").out


def test_names_of_runs(shop: Command) -> None:
    """A run is named by the beginning of its id, by "last", or by its place; a beginning of several is none."""
    assert "run first" in shop("tree", "fi").out
    assert "run second" in shop("tree", "last").out
    assert "run first" in shop("tree", ".otflow/runs.db#first").out
    assert shop("run", SHOP, *TEA, "--run-id", "fine").code == 0
    said = shop("tree", "fi")
    assert said.code == 3
    is_one_line(said, "Several runs begin with 'fi'")
    said = shop("tree", ".otflow/runs.db")
    assert said.code == 3
    is_one_line(said, "3 runs", "#")
    assert [shop("tree", name).code for name in ("nobody", "", "#")] == [3, 3, 3]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "first"],
        ["show", "first", "--records"],
        ["tree", "first"],
        ["diff", "first", "second"],
        ["stats", "first"],
        ["stats", "--all"],
        ["watch", "--once"],
        ["watch", "first"],
        ["replay", "--against", "tests.cli.shop:Renamed", "first"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_pages_fit(shop: Command, arguments: list[str]) -> None:
    """What is shown fits into 80 columns."""
    said = shop(*arguments)
    assert said.code in {0, 1}
    assert said.out
    assert [line for line in said.out.splitlines() if measure(line) > 80] == []


def test_show(shop: Command) -> None:
    """A run is shown with its input, result, steps and state; also as it stood after a record."""
    told = shop("show", "first", "--json").json()
    assert (told["outcome"], told["complete"], told["gaps"]) == ("completed", True, [])
    assert [(each["step"], each["attempts"], each["failed"]) for each in told["steps"]] == [
        ("take", 1, 0),
        ("pack", 3, 1),
        ("bill", 2, 0),
    ]
    assert told["result"] == {"result": {"size": 6}}
    early = shop("show", "first", "--at", 4, "--json").json()
    assert (early["state"], early["complete"]) == ({"customer": "ada"}, False)
    assert shop("show", "first", "--at", 0).code == 2
    records = shop("show", "first", "--records", "--json").json()["records"]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))


def test_clocks_that_differ_are_shown_as_they_are(otflow: Command) -> None:
    """Of a run whose times run against its numbers each record has the time of its clock, and nothing says how long."""
    records = trip()
    middle = records[len(records) // 2].seq
    Journal("odd.db")([replace(each, at=each.at + 10**12 * (each.seq < middle)) for each in records])
    shown = otflow("show", "--from", "odd.db").out
    assert f"Record {middle} tells an earlier time" in " ".join(shown.split())
    assert not re.search(r"\d (ms|s|min)\b", shown)
    listed = otflow("show", "--from", "odd.db", "--records").out
    assert re.search(r"^ +2 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +EventReceived", listed, re.MULTILINE)
    told = otflow("show", "--from", "odd.db", "--json").json()
    assert (told["astray"], told["summary"]["duration"]) == (middle, 0)


def test_secrets_are_not_shown(otflow: Command) -> None:
    """What looks like a secret stays in the journal, from where a fork takes it: no page and no export has it."""
    assert otflow("run", SHOP, *TEA, "-i", "api_key=sesame", "--run-id", "r").code == 0
    assert "sesame" in "".join(
        row[0] for row in Journal(".otflow/runs.db").connection.execute("SELECT data FROM record")
    )
    shown = [otflow(*line).out for line in (["show", "r"], ["show", "r", "--records", "--json"], ["tree", "r"])]
    otflow("draw", "r", "-o", "r.html")
    otflow("export", "--to", "r.jsonl")
    otflow("export", "--to", "r.binpb")
    shown += [Path(name).read_bytes().decode(errors="replace") for name in ("r.html", "r.jsonl", "r.binpb")]
    assert ["sesame" in each for each in shown] == [False] * 6
    assert "__REDACTED__" in shown[0]
    assert otflow("fork", "r", "--at", 2, "-q").code == 0
    said = otflow("fork", "r.binpb", "--at", 2, "-q")
    assert said.code == 1
    is_one_line(said, "hidden")


def test_tree_is_json_too(shop: Command) -> None:
    """Each invocation names its step, its parent and its attempts."""
    told = shop("tree", "first", "--json").json()["invocations"]
    take, *packs = (each for each in told if each["step"] != "bill")
    assert take["parent"] == 0
    assert [each["parent"] for each in packs] == [take["id"]] * 2
    assert [len(each["attempts"]) for each in packs] == [2, 1]


def test_watch_follows_to_the_end(shop: Command) -> None:
    """A run that has ended is watched once; the code says how it ended."""
    assert shop("watch", "first").code == 0
    assert shop("run", SHOP, "-i", 'goods=["bomb"]', "--run-id", "bad").code == 1
    assert shop("watch", "bad").code == 1


# --- drawing --------------------------------------------------------------------------------------------------------


def test_draw(shop: Command) -> None:
    """The ending of the name says in which form; a file that nobody named is not written over."""
    assert "wrote first.html: Shop" in shop("draw", "first").out
    assert Path("first.html").read_text().startswith("<!doctype html>")
    said = shop("draw", "first")
    assert said.code == 2
    is_one_line(said, "first.html is there already")
    assert shop("draw", "first", "-o", "a/b.svg").code == 0
    assert Path("a/b.svg").read_text().startswith("<svg")
    assert shop("draw", SHOP, "-o", "shop.mmd").code == 0
    assert "flowchart" in Path("shop.mmd").read_text()
    is_one_line(shop("draw", "first", "-o", "first.html/x.html"), "cannot write")


def test_diff(shop: Command) -> None:
    """Runs that differ end with 1, and are a page if that is asked for; a run is the same as itself."""
    assert shop("diff", "first", "first").code == 0
    assert shop("run", SHOP, "-i", 'goods=["pot"]', "--run-id", "pot").code == 0
    said = shop("diff", "first", "pot", "-o", "diff.html", "--json")
    assert (said.code, said.json()["verdict"]) == (1, "different")
    assert "two runs" in Path("diff.html").read_text()


# --- again ----------------------------------------------------------------------------------------------------------


def test_replay(shop: Command) -> None:
    """The workflow itself accepts its runs; another one is told where it parts from them, and ends with 1."""
    said = shop("replay", "--against", SHOP)
    assert (said.code, said.out) == (0, "2 accepted, by Shop\n")
    said = shop("replay", "--against", "tests.cli.shop:Renamed", "first", "second", "--json")
    told = said.json()
    assert (said.code, told["refused"]) == (1, 2)
    assert told["verdicts"][0]["divergence"]["kind"] == "step"
    said = shop("replay", "--against", "tests.cli.shop:Renamed", "first")
    assert said.code == 1
    assert "FAIL  first  record" in said.out
    assert shop("replay", "--against", "tests.cli.shop:Renamed").code == 3  # it has no runs


def test_replay_reads_files(shop: Command) -> None:
    """Histories that were exported are judged as those of the journal are."""
    assert shop("export", "first", "--to", "kept/first.jsonl").code == 0
    said = shop("replay", "--against", SHOP, "kept", "-v")
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 accepted, by Shop")


def test_fork(shop: Command) -> None:
    """A fork goes on from a record with another event or another state; its default is the workflow of the run."""
    records = shop("show", "first", "--records", "--json").json()["records"]
    [sent, _] = [each["seq"] for each in records if each["record"] == "EventSent" and each["type"].endswith(":Item")]
    said = shop("fork", "first", "--at", sent, "--event", '{"name": "samovar"}')
    assert (said.code, said.json()) == (0, {"size": 10})
    said = shop("fork", "first", "--at", 2, "--state", "customer=eve", "--run-id", "forked", "--json")
    assert (said.code, said.json()["run"]) == (0, "forked")
    said = shop("fork", "first", "--at", 3, "--event", "{}")
    assert said.code == 2
    is_one_line(said, "brought no event that could be changed")
    said = shop("fork", "first", "--at", sent, "--event", "Nothing={}")
    is_one_line(said, "there is no event Nothing in the workflow")


def test_a_fork_that_asks_is_left_and_answered(otflow: Command) -> None:
    """A fork of a run that waits is left as it stands too, and the advice that is printed works, also for its forks."""
    with tagged(session="chat"):
        assert otflow("run", SHOP, *TEA, "-i", "customer=human", "--run-id", "ask").code == 4
    for origin, forked in (("ask", "one"), ("one", "two")):
        said = otflow("fork", origin, "--run-id", forked)
        assert said.code == 4
        assert f"otflow resume {forked} --answer TEXT" in said.err
    assert otflow("resume", "one", "--answer", "do").out == "do\n"
    assert otflow("resume", "two", "--answer", "no").out == "no\n"
    with closing(sqlite3.connect(".otflow/runs.db")) as connection:
        assert {session for (session,) in connection.execute("SELECT session FROM run")} == {"chat"}


def test_a_fork_does_not_take_the_id_of_another_run(shop: Command) -> None:
    """The id of a run that is there is refused in one line, for a fork and for any run."""
    before = shop("show", "second", "--records").out
    for command in (("fork", "first"), ("run", SHOP, *TEA)):
        said = shop(*command, "--run-id", "second")
        assert (said.code, said.out) == (2, "")
        is_one_line(said, "run second is in the journal", "another --run-id", "otflow resume second")
    assert shop("show", "second", "--records").out == before


def test_a_run_that_waits_in_silence_is_left(otflow: Command) -> None:
    """A wait that nobody at the terminal was asked about is no reason to stay."""
    Path("flow.py").write_text(SILENT)
    said = otflow("run", "flow.py:Silent", "--run-id", "ask")
    assert said.code == 4
    assert "otflow resume ask --answer TEXT" in said.err.splitlines()[-1]


def test_fork_from_a_file(shop: Command) -> None:
    """A run that was exported can be forked, into the journal."""
    assert shop("export", "first", "--to", "first.binpb").code == 0
    said = shop("fork", "first.binpb", "--at", 2, "--run-id", "other")
    assert (said.code, said.json()) == (0, {"size": 6})
    assert shop("list", "-n", 1, "--json").json()[0]["id"] == "other"


def test_test(shop: Command) -> None:
    """A run becomes a test, which passes."""
    said = shop("test", "first", "-o", "tests/test_first.py")
    assert said.code == 0
    assert shop("test", "first", "-o", "tests/test_first.py").code == 2
    text = Path("tests/test_first.py").read_text()
    names: dict[str, object] = {}
    exec(compile(text, "test_first.py", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and callable(value)]
    assert len(tests) > 2
    for each in tests:
        each()
    assert shop("test", "first").out == text


def test_a_test_of_a_file_finds_it(otflow: Command) -> None:
    """The test of a workflow that was named by its file says where that is, so that pytest finds it."""
    Path("flows").mkdir()
    Path("flows/quick.py").write_text(QUICK)
    assert otflow("run", "flows/quick.py:Quick", "--run-id", "quick").code == 0
    places = ["tests/test_a.py", "test_b.py", "flows/test_c.py", "tests/deep/test_d.py"]
    for place in places:
        assert otflow("test", "quick", "-o", place).code == 0
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:asyncio", *places]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["my-flow", "json"])
def test_a_file_that_no_test_can_import_is_refused(otflow: Command, name: str) -> None:
    """A file whose name no import statement could use, or that is the name of another module, has to be renamed."""
    Path(f"{name}.py").write_text(QUICK)
    assert otflow("run", f"./{name}.py:Quick", "--run-id", "quick").code == 0
    said = otflow("test", "quick")
    assert (said.code, said.out) == (2, "")
    is_one_line(said, f"no test can import ./{name}.py", "Rename the file")


# --- answers and export ---------------------------------------------------------------------------------------------


def test_stats(shop: Command) -> None:
    """One run has a critical path; several are summed up; who wrote to the state can be asked."""
    assert "critical path" in shop("stats", "first").out
    assert shop("fork", "first", "--at", 2, "-q", "--run-id", "forked").code == 0  # which does not say its workflow
    assert "3 of 3 edges taken by 3 runs" in shop("stats", "--all").out
    many = shop("stats", "first", "second").out
    assert many.startswith("2 runs: 2 completed")
    assert "Order ▸ take" in many
    told = shop("stats", "first", "second", "--json").json()
    assert [each["run"] for each in told["runs"]] == ["first", "second"]
    assert told["coverage"]["share"] == 1
    [blamed] = shop("stats", "first", "--blame", "customer", "--json").json()["runs"]
    assert [write["step"] for write in blamed["blame"]["writes"]] == ["take"]


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.binpb"])
def test_export_to_a_file(shop: Command, name: str) -> None:
    """What was exported is read back as the same records."""
    said = shop("export", "--to", name, "--json")
    assert (said.code, said.json()["runs"]) == (0, 2)
    assert sorted(path.name for path in Path().iterdir()) == sorted([".otflow", name])
    for run in ("first", "second"):
        there, here = (shop("show", run, "-r", "--json", *more).json() for more in (["--from", name], []))
        assert there == here


def test_export_to_a_receiver(shop: Command) -> None:
    """A receiver gets all spans; one that is not there is named, with 3."""
    with receiving() as receiver:
        said = shop("export", "first", "--to", receiver.endpoint, "-H", "x-token=7", "--service", "shop", "--json")
        assert (said.code, said.json()["spans"]) == (0, len(receiver.names))
        assert [headers["x-token"] for headers in receiver.headers] == ["7"]
    said = shop("export", "first", "--to", "http://127.0.0.1:9")
    assert said.code == 3
    is_one_line(said, "does not take spans", "Is the receiver there?")


def test_doctor(shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is there, and a receiver that does not answer, or a variable that makes no sense, is a fault."""
    said = shop("doctor", "--json")
    told = said.json()
    assert said.code == 0
    assert told["journal"][0]["words"].startswith("2 runs, 0 without an end")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=sesame")
    monkeypatch.setenv("OTFLOW_CAPTURE", "some")
    said = shop("doctor")
    assert said.code == 1
    assert "does not take them" in said.out
    assert "sesame" not in said.out
    told = shop("doctor", "--json").json()
    assert [each["about"] for each in told["environment"] if each["state"] == "bad"] == ["OTFLOW_CAPTURE='some'"]


# --- in processes of their own --------------------------------------------------------------------------------------


def test_resume_after_a_kill(tmp_path: Path) -> None:
    """A run whose process was killed goes on, and no attempt that had ended runs again."""

    def call(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "otflow", *arguments]
        settings["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
        return subprocess.run(
            command, cwd=tmp_path, env=environment(**settings), capture_output=True, text=True, check=False
        )

    killed = call("run", SHOP, "-i", 'goods=["cup", "kill"]', "--run-id", "dead", SHOP_KILLS="1")
    assert (killed.returncode, killed.stdout) == (-9, "")
    assert json.loads(call("list", "--json").stdout)[0]["outcome"] == "open"
    resumed = call("resume", "dead")
    assert (resumed.returncode, resumed.stderr.count("otflow:")) == (0, 0), resumed.stderr
    assert json.loads(resumed.stdout) == {"size": 7}
    [take, *_] = json.loads(call("tree", "dead", "--json").stdout)["invocations"]
    assert len(take["attempts"]) == 1


def test_questions_are_asked_on_a_terminal(tmp_path: Path) -> None:
    """Whoever sits at the terminal is asked, and answers."""
    master, slave = os.openpty()
    os.write(master, b"yes, do\n")
    command = [sys.executable, "-m", "otflow", "run", SHOP, *TEA, "-i", "customer=human"]
    settings = environment(COLUMNS="80", PYDANTIC_DISABLE_PLUGINS="__all__")
    ran = subprocess.run(command, cwd=tmp_path, env=settings, stdin=slave, capture_output=True, text=True, check=False)
    os.close(master)
    os.close(slave)
    assert (ran.returncode, ran.stdout) == (0, "yes, do\n"), ran.stderr
    assert "Ship it? > " in ran.stderr


def test_help_is_fast_to_come() -> None:
    """The command loads neither the SDK nor the readers before it knows what is wanted."""
    settings = environment(PYDANTIC_DISABLE_PLUGINS="__all__")
    heavy = ["opentelemetry.sdk", "otflow.readers", "otflow.visualize", "grpc", "requests"]
    code = f"import sys, otflow.cli; print(*(name for name in {heavy} if name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
