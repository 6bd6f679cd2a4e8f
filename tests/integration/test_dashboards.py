"""Dashboards and rules on a real Prometheus, which scrapes a program that has all the troubles there are."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import HTTPError

import pytest

from otflow.dashboards.definition import define
from otflow.dashboards.files import general_files, workflow_files
from otflow.dashboards.health import health
from otflow.dashboards.model import Dashboard
from otflow.dashboards.overview import overview
from otflow.dashboards.steps import steps
from otflow.dashboards.waits import waits
from otflow.dashboards.workflow_dashboard import workflow_dashboard
from stack.process import find_free_ports, poll, stop_process
from stack.servers import Prometheus, launch, plan_prometheus
from tests.dashboards.pages import order, queries
from tests.integration.busy_program import Approval, Checkout, Hasty
from tests.integration.reading import read_json, wait_for

ROOT = Path(__file__).resolve().parents[2]
RULE_TESTS = sorted((ROOT / "grafana" / "prometheus" / "tests").glob("*.yml"))
PATIENCE = 60.0  # seconds until a slow machine has data for everything

DEFINITIONS = {kind.__name__: define(kind().graph, 10.0) for kind in (Checkout, Approval, Hasty)}
PAGES = [overview(), steps(), waits(), health(), *(workflow_dashboard(each) for each in DEFINITIONS.values())]


@dataclass(frozen=True)
class Answer:
    """What Prometheus said.

    Attributes:
        samples: how many series there are.
        numbers: how many of their values are numbers; a quantile of nothing is none.
        complaints: its error, or its warnings.
    """

    samples: int
    numbers: int
    complaints: tuple[str, ...]


def fill_in(expr: str, workflow: str = ".*") -> str:
    """Put values in place of the variables, as Grafana does."""
    values = {"workflow": workflow, "step": ".*", "__rate_interval": "10s", "__range": "45s"}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expr)


def ask(prometheus: Prometheus, expr: str) -> Answer:
    """Ask a query."""
    try:
        found = read_json(f"{prometheus.url}/api/v1/query", query=expr)
    except HTTPError as error:
        return Answer(0, 0, (error.read().decode(),))
    said = [*found.get("warnings", []), *found.get("infos", [])]
    values = [float(series["value"][1]) for series in found["data"]["result"]]
    return Answer(
        len(values), sum(map(math.isfinite, values)), (found["status"],) * (found["status"] != "success") + tuple(said)
    )


@pytest.fixture(scope="module")
def busy(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Start the busy program, and a Prometheus with all rules that scrapes it; rules are worked out every second."""
    tool("prometheus")
    folder = tmp_path_factory.mktemp("busy")
    rules = folder / "rules"
    rules.mkdir()
    files = dict(general_files())
    for definition in DEFINITIONS.values():
        files |= workflow_files(definition)
    for name, text in files.items():
        if name.endswith(".yml"):
            (rules / Path(name).name).write_text(text.replace("interval: 30s", "interval: 1s"), encoding="utf-8")
    port, own = find_free_ports(2)
    plan, found = plan_prometheus(folder, port, {"otflow": [f"127.0.0.1:{own}"]}, rules=rules, interval="1s")
    command = [sys.executable, "-m", "tests.integration.busy_program", str(own)]
    with ExitStack() as stack:
        program = stack.enter_context(subprocess.Popen(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}))
        stack.callback(program.kill)
        process = launch(plan)
        stack.callback(stop_process, process)
        yield found
        assert program.poll() is None, "the busy program ended by itself"


# --- promtool -------------------------------------------------------------------------------------------------


def promtool(tool: Callable[[str], Path], *arguments: object, cwd: Path = ROOT) -> None:
    """Run promtool, which complains loudly."""
    command = [str(tool("prometheus").parent / "promtool"), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write the rule files among these; give their paths."""
    paths = []
    for name, text in files.items():
        if name.endswith(".yml"):
            paths.append(folder / Path(name).name)
            paths[-1].write_text(text, encoding="utf-8")
    return paths


@pytest.mark.parametrize(
    "names", [["Order"], ['Or"der', "It's", "a\nb", "{{ oops }}", "命令", "c:\\d"]], ids=["plain", "odd"]
)
def test_rules_are_accepted(tool: Callable[[str], Path], tmp_path: Path, names: list[str]) -> None:
    """Prometheus accepts the general rules, and those of workflows with any name, and nothing in them is double."""
    files = dict(general_files())
    for name in names:
        files |= workflow_files(replace(order(), name=name))
    paths = write(tmp_path, files)
    assert len(paths) == 2 + len(names)
    promtool(tool, "check", "rules", "--lint-fatal", *paths)


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(tool: Callable[[str], Path], path: Path) -> None:
    """Each alert fires when it should, and not otherwise."""
    promtool(tool, "test", "rules", path.name, cwd=path.parent)


def test_every_alert_has_a_test() -> None:
    """Each general alert is seen firing in one of the test files."""
    text = "".join(path.read_text(encoding="utf-8") for path in RULE_TESTS)
    names = re.findall(r"alert: (\w+)", general_files()["prometheus/rules/otflow-alerts.yml"])
    assert len(names) == 9
    assert [
        name for name in names if not re.search(rf"alertname: {name}\n +eval_time: \w+\n +exp_alerts:\n", text)
    ] == []


def test_alerts_of_a_workflow_fire_when_they_should(tool: Callable[[str], Path], tmp_path: Path) -> None:
    """The alerts that are made from a definition fire at its numbers: a timeout of 10 s, and four attempts."""
    (rules,) = write(tmp_path, dict(workflow_files(order(10.0))))
    text = (Path(__file__).parent / "workflow-rules.yml").read_text(encoding="utf-8").replace("RULES", rules.name)
    (tmp_path / "test.yml").write_text(text, encoding="utf-8")
    promtool(tool, "test", "rules", "test.yml", cwd=tmp_path)


# --- a real Prometheus ----------------------------------------------------------------------------------------


def wait_for_numbers(prometheus: Prometheus, expressions: dict[str, str]) -> dict[str, Answer]:
    """Ask until everything has a number; give what has none in the end, or complains."""
    missing: dict[str, Answer] = dict.fromkeys(expressions, Answer(0, 0, ()))

    def ask_again() -> bool:
        for where in list(missing):
            missing[where] = ask(prometheus, expressions[where])
            if missing[where].numbers and not missing[where].complaints:
                del missing[where]
        return not missing or any(answer.complaints for answer in missing.values())

    poll(ask_again, PATIENCE)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_panels_have_data(busy: Prometheus, page: Dashboard) -> None:
    """Every query of every panel gives numbers, without warnings."""
    expressions = {
        where: fill_in(query.expr, "Checkout" if page.uid == "otflow-steps" else ".*") for where, query in queries(page)
    }
    assert wait_for_numbers(busy, expressions) == {}


def test_recordings_have_data(busy: Prometheus) -> None:
    """Every recording rule is worked out without fault, and has data."""

    def read_rules() -> list[dict]:
        return [rule for group in read_json(f"{busy.url}/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] == "ok" for rule in read_rules()), PATIENCE)
    rules = read_rules()
    assert [rule for rule in rules if rule.get("lastError")] == []
    names = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert len(names) == 21
    # without a timeout it would be infinite, which is no number
    assert wait_for_numbers(busy, {name: name for name in names}) == {}


def test_variables_have_values(busy: Prometheus) -> None:
    """The lists from which the reader chooses are those of the workflows and steps."""

    def values(query: str) -> set[str]:
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        url = f"{busy.url}/api/v1/label/{label}/values"
        return set(read_json(url, **{"match[]": fill_in(metric, "Checkout")})["data"])

    found = {(page.uid, it.name): values(it.query) for page in PAGES for it in page.variables}
    workflows = {"Approval", "Checkout", "Hasty"}
    assert found == {
        ("otflow-overview", "workflow"): workflows,
        ("otflow-steps", "workflow"): workflows,
        ("otflow-steps", "step"): {"split", "price", "total"},
        ("otflow-waits", "workflow"): workflows,
    }


def test_graphs_have_exemplars(busy: Prometheus) -> None:
    """Every graph that asks for exemplars gets some, each with the trace that it leads to."""
    asked = {where: fill_in(query.expr) for page in PAGES[:4] for where, query in queries(page) if query.exemplars}

    def traces(expr: str) -> list[str]:
        now = time.time()
        found = read_json(f"{busy.url}/api/v1/query_exemplars", query=expr, start=str(now - 60), end=str(now))["data"]
        return [each["labels"].get("trace_id", "") for series in found for each in series["exemplars"]]

    assert len(asked) > 10
    missing = dict(asked)

    def ask_again() -> bool:
        for where, expr in list(missing.items()):
            if (found := traces(expr)) and all(re.fullmatch("[0-9a-f]{32}", trace) for trace in found):
                del missing[where]
        return not missing

    poll(ask_again, PATIENCE)
    assert missing == {}


def test_the_table_names_what_is_wrong(busy: Prometheus) -> None:
    """The overview shows at its top the workflow that fails most, and the step."""

    def worst(title: str, label: str) -> str:
        panel = next(panel for row in overview().rows for panel in row.panels if panel.title == title)
        expr = fill_in(panel.queries[0].expr)
        series = read_json(f"{busy.url}/api/v1/query", query=f"topk(1, {expr})")["data"]["result"]
        return series[0]["metric"][label]

    wait_for(lambda: worst("Workflows, worst first", "otflow_workflow_name") == "Hasty")
    wait_for(lambda: worst("Steps, worst first", "otflow_step_name") == "hurry")
