"""The files that the repository keeps are those that the code makes."""

from __future__ import annotations

from pathlib import Path

from otflow.dashboards.files import general_files

KEPT = Path(__file__).resolve().parents[2] / "grafana"


def test_kept_files_are_current() -> None:
    """The dashboards and rules in grafana/ are what `make dashboards` writes; run it if this fails."""
    stale = [
        name
        for name, text in general_files().items()
        if not (KEPT / name).is_file() or (KEPT / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make dashboards`"


def test_no_file_is_left_over() -> None:
    """Nothing lies among the kept files that is not made any more."""
    folders = {(KEPT / name).parent for name in general_files()}
    there = {path.relative_to(KEPT).as_posix() for folder in folders for path in folder.iterdir()}
    assert there == general_files().keys()
