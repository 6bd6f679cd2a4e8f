"""A headless browser: what stands in a page when it is complete, and a picture of it."""

from __future__ import annotations

import subprocess
from html.parser import HTMLParser
from pathlib import Path

__all__ = ["crop_picture", "read_page", "take_picture"]

_PATIENCE = 120.0  # seconds for one look at a page
# the page's own time, which stands still while it waits for a server: enough for everything that moves to arrive
_SWITCHES = ("--virtual-time-budget=40000", "--force-prefers-reduced-motion")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data.strip())


def read_page(chromium: Path, url: str) -> list[str]:
    """Give the texts in a page, after its programs have done their work."""
    shown = _run(chromium, "--dump-dom", "--window-size=1500,3000", url)
    texts = _Texts()
    texts.feed(shown)
    return texts.found


def take_picture(chromium: Path, url: str, file: Path, width: int = 1500, height: int = 900) -> None:
    """Write a picture of a page as PNG."""
    _run(chromium, f"--screenshot={file}", f"--window-size={width},{height}", url)


def crop_picture(chromium: Path, file: Path, area: tuple[int, int, int, int]) -> None:
    """Cut an area (left, top, width, height) out of a picture, by a page that shows nothing else."""
    left, top, width, height = area
    page = file.with_suffix(".html")
    style = f"display:block; margin:-{top}px 0 0 -{left}px"
    page.write_text(
        f'<body style="margin:0; overflow:hidden"><img style="{style}" src="{file.name}">', encoding="utf-8"
    )
    take_picture(chromium, page.as_uri(), file, width, height)
    page.unlink()


def _run(chromium: Path, *arguments: str) -> str:
    command = [chromium, *_SWITCHES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
