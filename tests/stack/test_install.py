"""Tools are made once, by one at a time, and wholly or not at all.

The program `go` of these tests is a small script, in the place of the compiler.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.install import find_tool, install_tool
from stack.process import StackError
from stack.recipes import RECIPES

WORKS = """#!/bin/sh
echo "$1" >> "{calls}"
[ "$1" = get ] || printf '#!/bin/sh\\n' > made/jaeger
"""
FAILS = """#!/bin/sh
echo "no such module" >&2
exit 7
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a new folder for tools."""
    monkeypatch.setenv("OTFLOW_TOOLS", str(tmp_path / "tools"))
    return tmp_path / "tools"


def use_go(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program `go` on PATH, and give the file in which it writes down how it is called."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir(exist_ok=True)
    calls = tmp_path / "calls"
    go.write_text(text.format(calls=calls))
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    return calls


def test_a_tool_is_made_once(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who want a tool at the same time one makes it, in a folder that has its version, and both get it."""
    calls = use_go(WORKS, tmp_path, monkeypatch)
    said: list[str] = []
    assert find_tool("jaeger") is None
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: install_tool("jaeger", said.append), range(2)))
    assert found == [tools / f"jaeger-{RECIPES['jaeger'].version}" / "jaeger"] * 2
    assert calls.read_text().split() == ["get", "build"]
    assert len(said) == 2
    assert sorted(path.name for path in tools.iterdir()) == ["jaeger-1.62.0", "jaeger.lock", "jaeger.log"]


def test_a_failure_leaves_nothing_but_its_reason(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that cannot be made is reported with the end of the log, and the next one who asks begins anew."""
    use_go(FAILS, tmp_path, monkeypatch)
    with pytest.raises(StackError, match=r"jaeger cannot be made: go failed with 7\n(.*\n)*  no such module"):
        install_tool("jaeger", print)
    assert find_tool("jaeger") is None
    assert sorted(path.name for path in tools.iterdir()) == ["jaeger.lock", "jaeger.log"]
    (tools / ".jaeger-killed").mkdir()
    use_go(WORKS, tmp_path, monkeypatch)
    assert install_tool("jaeger", print).exists()
    assert not (tools / ".jaeger-killed").exists()


def test_what_is_missing_is_named(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler the reason says what to install."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(StackError, match=r"install Go 1\.24 or newer"):
        install_tool("collector", print)


def test_a_program_on_path_will_do(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prometheus that the system has is used, if it is new enough."""
    program = tmp_path / "prometheus"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for version, found in (("2.53.3", program), ("2.1.0", None)):
        program.write_text(f"#!/bin/sh\necho 'prometheus, version {version} (branch: x)'\n")
        program.chmod(0o755)
        assert find_tool("prometheus") == found
