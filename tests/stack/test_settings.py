"""docs/stack.md names every setting there is, and none that there is not."""

from __future__ import annotations

import re

from stack.local import PORTS
from stack.recipes import ROOT

PAGE = (ROOT / "docs" / "stack.md").read_text(encoding="utf-8")


def test_settings_of_the_collector_are_explained() -> None:
    """Each variable of the configurations has a row, which names the variants that know it."""
    known: dict[str, set[str]] = {}
    for variant in ("laptop", "production-gateway", "production-sampler"):
        for name in (variant, "protection"):
            text = (ROOT / "collector" / f"{name}.yaml").read_text(encoding="utf-8")
            for variable in re.findall(r"\$\{env:(\w+):-", text):
                known.setdefault(variable, set()).add(variant.removeprefix("production-"))
    rows = re.findall(r"^\| `(COLLECTOR_\w+)` \| ([\w, ]+) \|", PAGE, re.MULTILINE)
    everybody = {"laptop", "gateway", "sampler"}
    assert {name: everybody if who == "all" else set(who.split(", ")) for name, who in rows} == known


def test_every_setting_has_a_default() -> None:
    """No configuration asks for a variable that has to be set."""
    for path in (ROOT / "collector").glob("*.yaml"):
        assert re.findall(r"\$\{env:\w+\}", path.read_text(encoding="utf-8")) == []


def test_ports_of_the_stack_are_explained() -> None:
    """Each port that can be moved is named with its default, in the order of the names."""
    found = {}
    for names, numbers in re.findall(r"^\| (`OTFLOW_STACK_PORT_.*?) \| ([\d, ]+) \|", PAGE, re.MULTILINE):
        found.update(zip(re.findall(r"PORT_(\w+)`", names), map(int, numbers.split(", ")), strict=True))
    assert found == PORTS
