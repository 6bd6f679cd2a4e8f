"""What is written for Grafana is what Grafana reads, and what an operator needs stands in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as TheirDashboard

from otflow.dashboards.files import general_files, workflow_files
from otflow.dashboards.grafana import render_dashboard, write_dashboard
from otflow.dashboards.links import UID_HEALTH, UID_OVERVIEW, UID_STEPS, UID_WAITS
from otflow.dashboards.model import Bars, Column, Dashboard, Heat, Lines, Number, Panel, Query, Row, Table
from tests.dashboards.pages import every_page, order, panels

PAGES = every_page()
NAMES = [page.uid for page in PAGES[:-1]] + ["without-timeout"]

register_default_plugins()

# what Prometheus as a data source adds to annotations: it is in Grafana, and not in the models
UNKNOWN = {"/annotations/list/0/titleFormat is lost", "/annotations/list/0/textFormat is lost"}


def differences(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Give the places in which what we wrote is not what came back; what they add by default does not count."""
    match ours, theirs:
        case dict(), dict():
            for key, value in ours.items():
                if key not in theirs:
                    yield f"{path}/{key} is lost"
                else:
                    yield from differences(value, theirs[key], f"{path}/{key}")
        case list(), list() if len(ours) == len(theirs):
            for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
                yield from differences(mine, other, f"{path}/{place}")
        case _:
            if ours != theirs or type(ours) is not type(theirs):
                yield f"{path}: {ours!r} became {theirs!r}"


def there_and_back(rendered: object) -> object:
    """Read a dashboard with the models of Grafana, and write it with them."""
    return json.loads(JSONEncoder(sort_keys=True).encode(TheirDashboard.from_json(rendered)))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_models_of_grafana_keep_everything(page: Dashboard) -> None:
    """Grafana's own models know every key that we write, and give every value back as it was."""
    rendered = json.loads(write_dashboard(page))
    back = there_and_back(rendered)
    assert set(differences(rendered, back)) == UNKNOWN
    assert there_and_back(back) == back


def test_differences_are_found() -> None:
    """The comparison with Grafana's models sees keys that they do not know, deep inside too."""
    rendered = json.loads(write_dashboard(PAGES[0]))
    rendered["panels"][1]["options"]["colourMode"] = "value"
    rendered["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    rendered["templating"]["list"][0]["lable"] = "x"
    found = set(differences(rendered, there_and_back(rendered))) - UNKNOWN
    assert sorted(each.rpartition("/")[2] for each in found) == ["colourMode is lost", "lable is lost", "units is lost"]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_ids_are_unique(page: Dashboard) -> None:
    """No two panels share an id, no two queries of a panel share a reference."""
    rendered = render_dashboard(page)["panels"]
    numbers = [panel["id"] for panel in rendered]
    assert sorted(set(numbers)) == numbers
    for panel in rendered:
        references = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(references)) == len(references)
        assert all(references)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_panels_do_not_overlap(page: Dashboard) -> None:
    """Every panel has its own place in 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in render_dashboard(page)["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns[-1] < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_panels_say_what_they_mean(page: Dashboard) -> None:
    """Every panel has a title of its own in its row, a unit, a description that says something, and a query."""
    assert len(page.description) > 40
    for row in page.rows:
        assert len({panel.title for panel in row.panels}) == len(row.panels), row.title
    for panel in panels(page):
        assert panel.title, panel
        assert panel.unit, panel.title
        assert len(panel.description) > 40, panel.title
        assert panel.description.endswith("."), panel.title
        assert "  " not in panel.description, panel.title
        assert panel.queries, panel.title
        assert all(query.expr and query.legend for query in panel.queries), panel.title


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_data_sources_are_chosen_by_the_reader(page: Dashboard) -> None:
    """Nothing names a data source: the first variable does."""
    rendered = render_dashboard(page)
    variables = rendered["templating"]["list"]
    assert (variables[0]["type"], variables[0]["name"]) == ("datasource", "datasource")
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in rendered["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == wanted
            assert [target["datasource"] for target in panel["targets"]] == [wanted] * len(panel["targets"])
    assert all(variable["datasource"] == wanted for variable in variables[1:])
    assert [mark["datasource"] for mark in rendered["annotations"]["list"]] == [wanted]


def test_variables_are_those_that_queries_use() -> None:
    """A query names no variable that the reader cannot choose, and each that can be chosen is used."""
    for page in PAGES:
        text = " ".join(query.expr for panel in panels(page) for query in panel.queries)
        for name in ("workflow", "step"):
            assert (f"${name}" in text) == (name in {variable.name for variable in page.variables}), page.title


def test_links_lead_to_dashboards() -> None:
    """Every link inside a panel leads to a dashboard that there is."""
    there = {UID_OVERVIEW, UID_STEPS, UID_WAITS, UID_HEALTH}
    text = "".join(map(write_dashboard, PAGES))
    named = {part.partition("?")[0].partition('"')[0] for part in text.split("/d/")[1:]}
    assert {page.uid for page in PAGES[:4]} == there
    assert named == {UID_STEPS}
    assert named <= there


def test_ids_of_dashboards_are_short_and_their_own() -> None:
    """The id of a dashboard fits into Grafana's 40 characters, and no two dashboards share one."""
    uids = [page.uid for page in PAGES[:-1]]
    assert len(set(uids)) == len(uids)
    assert [uid for uid in uids if not 8 <= len(uid) <= 40] == []


def test_text_is_the_same_every_time() -> None:
    """The same dashboards and rules give the same files, byte by byte."""
    assert general_files() == general_files()
    assert workflow_files(order()) == workflow_files(order())


def test_tables_have_a_column_for_each_query() -> None:
    """The columns of a table are its labels and its queries, in order; it is sorted by one of them."""
    tables = [panel for page in PAGES for panel in panels(page) if isinstance(panel.view, Table)]
    assert len(tables) >= 3
    for panel in tables:
        names = [column.name for column in panel.view.columns if not column.label]
        assert names == [query.legend for query in panel.queries]
        assert panel.view.worst in names


def test_views_ask_as_they_show() -> None:
    """Tables and bars ask for the last value, graphs for all values, heatmaps for buckets."""
    query = Query(expr="up", legend="x")

    def target(panel: Panel) -> dict[str, object]:
        page = Dashboard(uid="u", title="t", description="d", rows=(Row("r", (panel,)),))
        return render_dashboard(page)["panels"][1]["targets"][0]

    def shown(view: object) -> tuple[object, ...]:
        panel = Panel(title="t", description="d", unit="s", queries=(query,), view=view)
        asked = target(panel)
        return asked["instant"], asked["range"], asked["format"]

    assert shown(Bars()) == (True, False, "time_series")
    assert shown(Table(columns=(Column(name="x"),), worst="x")) == (True, False, "table")
    assert shown(Lines()) == (False, True, "time_series")
    assert shown(Number()) == (False, True, "time_series")
    assert shown(Heat()) == (False, True, "heatmap")
