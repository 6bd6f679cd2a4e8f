"""Rules of Prometheus as frozen records, and how they are written into a file.

The files are YAML, of which this room writes the little that it needs; so no library is needed to make them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Alert", "Recording", "Rule", "RuleGroup", "Severity", "write_rules"]

Severity: TypeAlias = Literal["page", "ticket"]
"""Whether someone is woken up, or finds it in the morning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A query whose answer is kept under a name of its own.

    Args:
        record: the name, as `level:metric:operation`.
        expr: the query.
        labels: labels that each answer gets; default none.
    """

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A query that has no answer as long as all is well.

    Args:
        name: its name; also the heading of what to do about it, in the page that it links to.
        expr: the query.
        hold: for how long it has to have an answer, as `10m`; default it need not last.
        labels: further labels, which tell it from another one with its name; default none.
        severity: whether someone is woken up.
        summary: what is wrong, in one line; labels are written `{{ $labels.NAME }}`, the value `{{ $value }}`.
        description: what it means, and where to look first.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    hold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


Rule: TypeAlias = Recording | Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated one after the other, at one time.

    Args:
        name: its name.
        rules: the rules; a later one may use what an earlier one records.
        interval: the time between two evaluations; default 30 seconds.
    """

    name: str
    rules: tuple[Rule, ...]
    interval: str = "30s"


def write_rules(groups: Iterable[RuleGroup], *, about: str, runbook: str | None = None) -> str:
    """Write groups of rules as the text of a file.

    Args:
        groups: the groups.
        about: what stands at the top of the file, as comment.
        runbook: the address of the page with one heading for each alert; default None, then alerts link to nothing.
    """
    lines = [*(f"# {line}".rstrip() for line in about.splitlines()), "groups:"]
    for group in groups:
        lines += [f"  - name: {group.name}", f"    interval: {group.interval}", "    rules:"]
        for rule in group.rules:
            lines += _write_alert(rule, runbook) if isinstance(rule, Alert) else _write_recording(rule)
    return "\n".join(lines) + "\n"


def _write_recording(rule: Recording) -> Iterator[str]:
    yield f"      - record: {rule.record}"
    yield f"        expr: {_quote(rule.expr)}"
    yield from _write_mapping("labels", rule.labels)


def _write_alert(rule: Alert, runbook: str | None) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield f"        expr: {_quote(rule.expr)}"
    if rule.hold:
        yield f"        for: {rule.hold}"
    yield from _write_mapping("labels", {"severity": rule.severity, **rule.labels})
    texts = {"summary": rule.summary, "description": rule.description}
    if runbook is not None:
        texts["runbook_url"] = f"{runbook}#{rule.name.lower()}"
    yield from _write_mapping("annotations", texts)


def _write_mapping(name: str, texts: Mapping[str, str]) -> Iterator[str]:
    if texts:
        yield f"        {name}:"
        yield from (f"          {key}: {_quote(text)}" for key, text in texts.items())


def _quote(text: str) -> str:
    """Write a text as YAML: a JSON string is one too; single quotes read better around PromQL."""
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=not text.isprintable())
