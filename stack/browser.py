"""A headless browser that was unpacked, not installed: it has to be told where its libraries and fonts are."""

from __future__ import annotations

import shlex
from pathlib import Path

from stack.install import name_library_folders

__all__ = ["write_launcher"]

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
{folders}
  <cachedir>{cache}</cachedir>
</fontconfig>
"""
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # there is none in a container, and it only ever sees pages of this machine
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


def write_launcher(program: Path, folder: Path) -> Path:
    """Write a script that runs a headless Chromium with a profile of its own, and give its path.

    Args:
        program: the browser.
        folder: where the script and the profile go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    libraries = name_library_folders(program)
    lines = ["#!/bin/sh"]
    if libraries:
        root = next(parent for parent in program.parents if parent.name == "usr").parent
        fonts = "\n".join(f"  <dir>{each}/usr/share/fonts</dir>" for each in (root, ""))
        config = folder / "fonts.conf"
        config.write_text(_FONTS.format(folders=fonts, cache=folder / "fonts"), encoding="utf-8")
        lines.append(f"export LD_LIBRARY_PATH={shlex.quote(':'.join(map(str, libraries)))}")
        lines.append(f"export FONTCONFIG_FILE={shlex.quote(str(config))}")
    profile = shlex.quote(f"--user-data-dir={folder / 'profile'}")
    lines.append(f'exec {shlex.quote(str(program))} {" ".join(_SWITCHES)} {profile} "$@"')
    launcher = folder / "chromium.sh"
    launcher.write_text("\n".join(lines) + "\n", encoding="utf-8")
    launcher.chmod(0o755)
    return launcher
