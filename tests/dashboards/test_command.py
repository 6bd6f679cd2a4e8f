"""`otflow dashboards`, from outside: what it writes, and what it says when it is used wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otflow.dashboards.files import general_files

ROOT = Path(__file__).resolve().parents[2]

SHOP = """
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.retry_policy import retry_policy, stop_never, wait_fixed
from wares import NAME


class Sell(Workflow):
    @step
    async def sell(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


class Needy(Sell):
    def __init__(self, price: int) -> None:
        super().__init__(timeout=5)


class Broken(Sell):
    def __init__(self) -> None:
        raise OSError("no database\\nhere")


class Empty(Workflow):
    pass


class Shelf:
    sell = Sell(timeout=20, workflow_name=NAME)


class Stubborn(Workflow):
    @step(retry_policy=retry_policy(wait=wait_fixed(20)))
    async def insist(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


number = 7
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Make a folder with a module that holds workflows, and one that it imports."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "wares.py").write_text('NAME = "Named"\n', encoding="utf-8")
    (tmp_path / "faulty.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    (tmp_path / "needing.py").write_text("import not_there\n", encoding="utf-8")
    (tmp_path / "plain.py").write_text("x = 1\n", encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from otflow.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-W", "error", "-c", program, "dashboards", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_general_dashboards_are_written(tmp_path: Path) -> None:
    """Without a workflow, the dashboards and rules for all workflows are written, and each file is named."""
    done = run(tmp_path, "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"wrote {Path('out', name)}" for name in general_files()]
    for name, text in general_files().items():
        assert (tmp_path / "out" / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("target", "name", "workflow"),
    [
        ("shop:Sell", "otflow-sell", "Sell"),
        ("shop.py:Sell", "otflow-sell", "Sell"),
        ("./shop.py:Shelf.sell", "otflow-named", "Named"),
    ],
)
def test_workflows_are_found(shop: Path, target: str, name: str, workflow: str) -> None:
    """A workflow is named by module or file, as a class or an instance, also inside of something."""
    done = run(shop, target)
    assert (done.returncode, done.stderr) == (0, "")
    files = [f"grafana/dashboards/{name}.json", f"grafana/prometheus/rules/{name}.yml"]
    assert done.stdout.splitlines() == [f"wrote {file}" for file in files]
    assert json.loads((shop / files[0]).read_text(encoding="utf-8"))["title"] == f"otflow / {workflow}"


def test_file_of_another_folder_is_found(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file may lie anywhere, and imports what lies beside it."""
    done = run(tmp_path_factory.mktemp("elsewhere"), f"{shop / 'shop.py'}:Sell")
    assert (done.returncode, done.stderr) == (0, "")


def test_output_can_be_printed(shop: Path) -> None:
    """With --stdout there is one JSON object with all texts, and nothing is written; remarks go elsewhere."""
    done = run(shop, "shop:Stubborn", "--timeout", "30", "--stdout", "--runbook", "https://wiki/alerts")
    assert done.returncode == 0
    files = json.loads(done.stdout)
    assert list(files) == ["dashboards/otflow-stubborn.json", "prometheus/rules/otflow-stubborn.yml"]
    assert 'runbook_url: "https://wiki/alerts#otflowrunneartimeout"' in files["prometheus/rules/otflow-stubborn.yml"]
    assert done.stderr.startswith("note: The retries of step insist may wait for 40 s, but a run ends after 30 s")
    assert not (shop / "grafana").exists()


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        (["shop:Sell"], "45"),
        (["shop:Shelf.sell"], "20"),
        (["shop:Needy", "--timeout", "7.5"], "7.5"),
        (["shop:Shelf.sell", "--timeout", "8"], "8"),
        (["shop:Needy", "--timeout", "none"], "+Inf"),
    ],
)
def test_timeout_is_that_of_the_workflow(shop: Path, arguments: list[str], limit: str) -> None:
    """The timeout is what the workflow says, unless it is given; a class is then not made at all."""
    done = run(shop, *arguments, "--stdout")
    assert done.returncode == 0, done.stderr
    rules = next(text for name, text in json.loads(done.stdout).items() if name.endswith(".yml"))
    assert f'expr: "vector({limit})"' in rules


FORMS = "module:Workflow or path/to/file.py:Workflow"
OFFER = "There is shop:Sell, shop:Needy, shop:Broken, shop:Empty and shop:Stubborn."

COMPLAINTS = {
    "shop": f'"shop" names no workflow: write {FORMS}.',
    ":Sell": f'":Sell" names no workflow: write {FORMS}.',
    "store:Sell": f"there is no module store, here or installed. Run this where the module is, or write {FORMS}.",
    "shop.a:Sell": f"there is no module shop.a, here or installed. Run this where the module is, or write {FORMS}.",
    "store.py:Sell": f"there is no file store.py. Write {FORMS}.",
    "shop:Sel": f"shop has no Sel. {OFFER}",
    "plain:Sell": "plain has no Sell. It has no workflow at all.",
    "shop:number": f"shop:number is no Workflow, but of type int. {OFFER}",
    "shop:Needy": "shop:Needy cannot be made without arguments (missing a required argument: 'price'). Name one that "
    "is made in its module, or say after how many seconds its runs end, with --timeout: then none has to be made.",
    "shop:Broken": "shop:Broken cannot be made: OSError: no database here",
    "shop:Empty": "shop:Empty cannot be made: WorkflowConfigurationError: Workflow 'Empty' has no steps. Mark a method "
    "with @step, or add a function with @step(workflow=...).",
    "shop:Sell --timeout soon": '--timeout "soon" is no time: give a number of seconds greater than 0, or none.',
    "shop:Sell --timeout -1": '--timeout "-1" is no time: give a number of seconds greater than 0, or none.',
    "--timeout 5": "--timeout is that of a workflow: name one.",
    "faulty:Sell": "cannot import faulty: ZeroDivisionError: division by zero",
    "faulty.py:Sell": "cannot import faulty.py: ZeroDivisionError: division by zero",
    "leaving:Sell": "cannot import leaving: SystemExit: 3",
    "needing:Sell": "cannot import needing: ModuleNotFoundError: No module named 'not_there'",
    "-o plain.py": "cannot write plain.py/dashboards/otflow-overview.json: Not a directory. Name another folder "
    "with -o.",
}


@pytest.mark.parametrize(("line", "complaint"), COMPLAINTS.items())
def test_errors_are_one_line(shop: Path, line: str, complaint: str) -> None:
    """Whatever is wrong is said in one line that says what to do, and the exit code is 2."""
    done = run(shop, *line.split())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"otflow: {complaint}\n")
