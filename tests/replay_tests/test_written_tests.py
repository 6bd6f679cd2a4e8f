"""A test that is written from a recorded run passes on the code that ran, and fails when a step was changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.replay_tests.shopping import RUN, SOURCE

ROOT = Path(__file__).resolve().parents[2]


def python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a directory, with otflow to import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "OTEL", "OTFLOW"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def run_pytest(place: Path) -> subprocess.CompletedProcess[str]:
    """Run the written test, with nothing but pytest."""
    plugins = [
        word for name in ("asyncio", "logfire", "cacheprovider", "anyio", "otflow") for word in ("-p", f"no:{name}")
    ]
    return python(place, "-m", "pytest", "-q", "-W", "error", *plugins, "test_written.py")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a run, and write a test of it."""
    place = tmp_path_factory.mktemp("shop")
    (place / "pyproject.toml").write_text("")
    (place / "shopping.py").write_text(SOURCE, encoding="utf-8")
    made = python(place, "-c", RUN)
    assert made.returncode == 0, made.stderr
    return place


def test_it_passes_on_what_ran(written):
    """On the code that ran, every written test passes."""
    ran = run_pytest(written)
    assert ran.returncode == 0, ran.stdout + (written / "test_written.py").read_text(encoding="utf-8")
    assert " passed" in ran.stdout


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("PRICE = 100", "PRICE = 101", "test_price"),
        ('"sum": sum(', '"sum": 1 + sum(', "test_total"),
        ('step="price"', 'step="total"', "test_split"),
        ('text="noted"', 'text=""', "test_note"),
        ('return Log(text="noted")', 'ctx.send_event(Log(text="more")); return Log(text="noted")', "test_note"),
        ('return Log(text="noted")', 'ctx.write_event_to_stream(ev); return Log(text="noted")', "test_note"),
        ("if found is None:", 'await ctx.store.set("more", 1)\n        if found is None:', "test_total"),
    ],
)
def test_it_fails_when_a_step_was_changed(written, tmp_path, old, new, step):
    """When a step gives something else, or does more, its tests fail, and those of other steps do not."""
    text = (written / "shopping.py").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shopping.py").write_text(text.replace(old, new), encoding="utf-8")
    (tmp_path / "test_written.py").write_text(
        (written / "test_written.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    ran = run_pytest(tmp_path)
    failed = {line.split("::")[1].split(" ")[0] for line in ran.stdout.splitlines() if line.startswith("FAILED")}
    assert failed
    assert {name.rpartition("_")[0] for name in failed} == {step}


def test_it_is_formatted(written):
    """What is written has the form that formatters and checkers ask for by default."""
    for command in (["check"], ["format", "--diff"]):
        ran = python(written, "-m", "ruff", *command, "--isolated", "--no-cache", "test_written.py")
        assert ran.returncode == 0, ran.stdout


def test_it_can_be_read(written):
    """Payloads are the constructors of the user's classes, and what cannot be tested is said."""
    text = (written / "test_written.py").read_text(encoding="utf-8")
    assert "from shopping import Answer, Ask, Color, Log, Order, Price, Shop, Size\n" in text
    assert "color=Color.RED" in text
    assert "size=Size(width=3)" in text
    assert 'collected=[Price(item="nut", cents=100), Price(item="bolt", cents=100)]' in text
    assert 'answers=[Answer(text="yes")]' in text
    assert "attempt=2" in text
    assert 'assert called.targets == [None, "price"]' in text
    assert "assert called.sent == called.streamed == []\n" in text
