"""Runs are gone on with from what real servers hold of them, and every example is there as it happened."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

import otflow
from otflow.errors import ReaderError
from otflow.readers import Execution, read_all
from otflow.records.codec import encode
from otflow.records.record import EventSent, RunResumed
from otflow.records.semconv import ORIGIN_RUN_ID, ORIGIN_SEQ, RUN_ID
from otflow.replay import MisfitError, fork
from stack.process import find_free_ports
from stack.recipes import ROOT
from stack.servers import Jaeger, Phoenix
from tests.integration.readback.jaeger import show as show_jaeger
from tests.integration.readback.phoenix import show as show_phoenix
from tests.integration.readback.relay import relay
from tests.integration.readback.seen import Seen
from tests.integration.readback.shop import Item, Shop
from tests.integration.reading import read_json, read_phoenix, unique, wait_for
from tests.integration.sending import watched

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHOP = "tests.integration.readback.shop:Shop"
SERVERS = ("jaeger", "phoenix")
GOODS = ["tea", "sugar", "pot"]
PACKED = sum(map(len, GOODS))
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def urls(jaeger: Jaeger, phoenix: Phoenix) -> dict[str, str]:
    """Name the places in which runs are found."""
    return {"jaeger": jaeger.url, "phoenix": phoenix.url}


@pytest.fixture(scope="module")
def endpoints(jaeger: Jaeger, phoenix: Phoenix) -> dict[str, str]:
    """Name those who take spans over HTTP."""
    return {"jaeger": jaeger.otlp_http, "phoenix": phoenix.url}


def make_environment(endpoint: str = "", service: str = "", **more: str) -> dict[str, str]:
    """Make the environment of a program that sends its spans to an endpoint."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    sending = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={service}",
    }
    return {**kept, **(sending if endpoint else {}), "PYTHONPATH": str(ROOT), **more}


def run_command(*arguments: str, status: int = 0, **environment: str) -> str:
    """Run the command in a process of its own, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "otflow", *arguments],
        cwd=ROOT,
        env={**make_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_whole(url: str, run: str) -> Execution | None:
    """Read a run; None while it is not there in full."""
    try:
        found = otflow.open(url).run(run)
    except ReaderError:
        return None
    return found if found.complete else None


@pytest.fixture(scope="module")
def runs(
    urls: Mapping[str, str], endpoints: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Execution]:
    """Run the shop by command: as it should be, with a secret, with a note that is too long; with what they are."""
    folder, service = tmp_path_factory.mktemp("shop"), unique("shop")
    notes = {"plain": {}, "other": {"goods": [*GOODS, "cup"]}, "secret": {"extra": {"api_key": "hunter2-of-the-shop"}}}
    notes["long"] = {"extra": {"note": "long " * 40_000}}
    found = {}
    with relay([*endpoints.values()], folder / "spans.pb") as passed:
        for name, fields in notes.items():
            given = folder / f"{name}.json"
            given.write_text(json.dumps({"goods": GOODS, **fields}), encoding="utf-8")
            arguments = [
                "--input-json",
                str(given),
                "--run-id",
                f"{service}-{name}",
                "--journal",
                str(folder / "runs.db"),
            ]
            run_command("run", SHOP, *arguments, **make_environment(passed.endpoint, service))
            for url in urls.values():
                wait_for(partial(read_whole, url, f"{service}-{name}"))
            found[name] = otflow.open(folder / "runs.db").run(f"{service}-{name}")
    assert passed.refused == []
    return found


def find_spans(jaeger: Jaeger, phoenix: Phoenix, server: str, service: str, run: str) -> list[Seen]:
    """Give the spans of a run that a server has."""
    if server == "phoenix":
        seen = [show_phoenix(each) for each in read_phoenix(phoenix, service)]
    else:
        answer = read_json(f"{jaeger.url}/api/traces", service=service, limit="100", lookback="1h")
        seen = [each for trace in answer["data"] for each in show_jaeger(trace)]
    return [each for each in seen if each.attributes.get(RUN_ID) == run]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_fork_from_a_server_ends_as_it_should(
    jaeger: Jaeger,
    phoenix: Phoenix,
    urls: Mapping[str, str],
    endpoints: Mapping[str, str],
    runs: Mapping[str, Execution],
    server: str,
) -> None:
    """From each event that a server holds a run can be gone on with, as it was, or with others; its trace says so."""
    old = otflow.open(urls[server]).run(runs["plain"].run_id)
    items = [each.seq for each in old.records if isinstance(each, EventSent) and each.type.endswith(":Item")]
    service = unique("fork")
    with watched(endpoints[server], service):
        forks = [fork(old, Shop(), at=seq) for seq in range(2, old.records[-1].seq + 1)]
        assert [await each for each in forks] == [PACKED] * len(forks)
        longer = fork(old, Shop(), at=items[1], event=Item(name="marmalade"))
        assert await longer == PACKED - len("sugar") + len("marmalade")
        fewer = fork(old, Shop(), at=items[-1], state={"count": 2})
        assert await fewer == len("tea") + len("sugar")
    new = wait_for(partial(read_whole, urls[server], longer.run_id))
    begin = new.records[0]
    assert isinstance(begin, RunResumed)
    assert new.outcome == "completed"
    assert new.state()["packed"] == {"tea": 3, "marmalade": 9, "pot": 3}
    spans = find_spans(jaeger, phoenix, server, service, longer.run_id)
    [root] = [each for each in spans if ORIGIN_RUN_ID in each.attributes]
    assert (root.attributes[ORIGIN_RUN_ID], int(str(root.attributes[ORIGIN_SEQ]))) == (old.run_id, items[-1])
    if server == "jaeger":  # Phoenix keeps no links
        [(trace, _)] = root.links
        assert trace != root.trace
        assert {info.id for info in otflow.open(f"{urls[server]}/trace/{trace}").runs()} == {old.run_id}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("name", "reason"), [("secret", "hidden"), ("long", "left out")])
async def test_a_fork_that_lacks_a_payload_is_refused(
    urls: Mapping[str, str], runs: Mapping[str, Execution], server: str, name: str, reason: str
) -> None:
    """Where a payload that is still needed was hidden or left out, a fork is refused with the reason."""
    old = otflow.open(urls[server]).run(runs[name].run_id)
    assert old.complete
    assert old.losses
    sent = next(each.seq for each in old.records if isinstance(each, EventSent))
    with pytest.raises(MisfitError, match=reason):
        fork(old, Shop(), at=sent)
    assert await fork(old, Shop(), at=old.records[-1].seq) == PACKED


@pytest.mark.parametrize("server", SERVERS)
def test_commands_take_a_server(
    urls: Mapping[str, str], runs: Mapping[str, Execution], tmp_path: Path, server: str
) -> None:
    """`otflow fork`, `diff` and `draw` work with the URL of a server, as with the journal."""
    url, plain, other = urls[server], runs["plain"], runs["other"]
    journal = ["--journal", str(tmp_path / "runs.db")]
    run_command("fork", f"{url}#{plain.run_id}", "--against", SHOP, "--at", "2", "--run-id", "forked", *journal)
    forked = otflow.open(tmp_path / "runs.db").run("forked")
    assert (forked.outcome, forked.state()) == ("completed", plain.state())
    assert run_command("diff", plain.run_id, plain.run_id, "--from", url)
    said = run_command("diff", f"{url}#{plain.run_id}", f"{url}#{other.run_id}", status=1)
    assert re.search(r"cup", said)
    picture = tmp_path / "run.svg"
    run_command("draw", plain.run_id, "--from", url, "-o", str(picture))
    run_command("draw", plain.run_id, "--from", runs_file(tmp_path, plain), "-o", str(tmp_path / "same.svg"))
    assert "pack" in picture.read_text(encoding="utf-8")
    assert picture.read_bytes() == (tmp_path / "same.svg").read_bytes()


def runs_file(folder: Path, execution: Execution) -> str:
    """Write the records of a run into a file, and give its path."""
    path = folder / "records.jsonl"
    path.write_bytes(b"\n".join(map(encode, execution.records)))
    return str(path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_read_back(
    urls: Mapping[str, str], endpoints: Mapping[str, str], example: Path, tmp_path: Path
) -> None:
    """What an example did until somebody ended it is in both servers, and in what was sent, as in its journal."""
    service, journal, file = unique(example.stem), tmp_path / "runs.db", tmp_path / "spans.pb"
    told = {"OTFLOW_JOURNAL": str(journal), "DEMO_PORT": str(find_free_ports(1)[0]), "DEMO_EVERY": "600"}

    def has_ended() -> bool:
        assert process.poll() in {None, 0}
        found = read_all_of(journal)
        return bool(found) and all(each.outcome == "completed" for each in found.values())

    with relay([*endpoints.values()], file) as passed:
        process = subprocess.Popen(
            [sys.executable, str(example)],
            cwd=tmp_path,
            env=make_environment(passed.endpoint, service, **told),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(has_ended)
            wait_for(lambda: read_all_of(file) == read_all_of(journal))  # it sends what it has, now and then
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert passed.refused == []
    expected = read_all_of(journal)
    for url in (*urls.values(), f"{urls['phoenix']}/projects/{service}"):
        found = {run: wait_for(partial(read_whole, url, run)) for run in expected}
        assert found == expected
        assert {run: each.history for run, each in found.items()} == {
            run: each.history for run, each in expected.items()
        }


def read_all_of(path: Path) -> dict[str, Execution]:
    """Read all runs of a file; none while nothing is in it."""
    try:
        return {each.run_id: each for each in read_all(otflow.open(path))}
    except ReaderError:
        return {}
