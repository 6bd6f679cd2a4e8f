"""Packages of Debian in a folder of their own: nothing is installed, nobody has to be root.

apt works with lists and caches of its own in a scratch folder, from the package sources that the machine names; for
another suite, from the same archive. This room knows no tool by name.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from stack.process import StackError
from stack.recipes import DebianPackage

__all__ = ["unpack_package"]

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def unpack_package(recipe: DebianPackage, folder: Path, scratch: Path, log: Path) -> str:
    """Unpack a package into a folder, and give the version that came.

    Args:
        recipe: what is wanted.
        folder: where its files go.
        scratch: an empty folder for what is needed in between.
        log: where the output of apt is added.

    Raises:
        StackError: apt is missing or fails, or has no package that is new enough.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise StackError(f"{recipe.package}: this system has no apt; put {_list_commands(recipe)} on PATH")
    options = _make_options(scratch, _name_sources(recipe, scratch))
    _run(["apt-get", *options, "--quiet", "update"], scratch, log)
    version = _find_candidate(recipe, options)
    debs = scratch / "debs"
    debs.mkdir()
    if recipe.needs:
        command = ["apt-get", *options, "--quiet", "--yes", "--no-install-recommends", "--download-only"]
        _run([*command, "install", recipe.package], scratch, log)
        debs = scratch / "cache" / "archives"
    else:
        _run(["apt-get", *options, "--quiet", "download", recipe.package], debs, log)
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(deb), str(folder)], scratch, log)
    _mend_links(folder)
    return version


def _mend_links(folder: Path) -> None:
    """Let links that lead to nothing lead into the system, where it has what the package was to find beside itself."""
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.exists():
            target = Path(os.path.normpath(path.parent / path.readlink()))
            system = Path("/", target.relative_to(folder)) if target.is_relative_to(folder) else target
            if system.exists():
                path.unlink()
                path.symlink_to(system)


def _list_commands(recipe: DebianPackage) -> str:
    return " or ".join(recipe.commands or (recipe.package,))


def _make_options(scratch: Path, sources: list[str]) -> list[str]:
    """Keep apt within the scratch folder, but let it know what the system has installed."""
    for each in ("state/lists/partial", "cache/archives/partial"):
        (scratch / each).mkdir(parents=True)
    return [
        *(
            f"-oDir::State={scratch}/state",
            "-oDir::State::status=/var/lib/dpkg/status",
            f"-oDir::Cache={scratch}/cache",
        ),
        *("-oDebug::NoLocking=1", "-oAcquire::Retries=3", "-oAcquire::Languages=none"),
        *("-oAPT::Sandbox::User=", "-oAPT::Update::Error-Mode=any", "-oAPT::Get::Show-User-Simulation-Note=false"),
        *sources,
    ]


def _name_sources(recipe: DebianPackage, scratch: Path) -> list[str]:
    """Name the sources of another suite, in the archive from which this system takes its packages."""
    if not recipe.suite:
        return []
    command = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)"]
    shown = subprocess.run(
        [*command, "Created-By: Packages"], capture_output=True, text=True, env=_speak_plainly(), check=False
    )
    rows = [line.split() for line in shown.stdout.splitlines()]
    archive = next((uri for uri, release in rows if "-" not in release), "")
    if not archive or platform.freedesktop_os_release().get("ID") != "debian":
        raise StackError(f"{recipe.package}: it comes from Debian {recipe.suite}, and this system is no Debian")
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    listed = scratch / "sources.list"
    listed.write_text(f"deb {signed}{archive} {recipe.suite} main\n", encoding="utf-8")
    return [f"-oDir::Etc::sourcelist={listed}", "-oDir::Etc::sourceparts=-"]


def _find_candidate(recipe: DebianPackage, options: list[str]) -> str:
    """Give the version that apt would install, without what a file name cannot hold."""
    command = ["apt-cache", *options, "policy", recipe.package]
    shown = subprocess.run(command, capture_output=True, text=True, env=_speak_plainly(), check=False).stdout
    candidates = [line.split()[1] for line in shown.splitlines() if line.strip().startswith("Candidate:")]
    version = candidates[0] if candidates else "(none)"
    compared = ["dpkg", "--compare-versions", version, "ge", recipe.minimum]
    if version == "(none)" or subprocess.run(compared, check=False).returncode:
        where = f"Debian {recipe.suite}" if recipe.suite else "the package sources of this system"
        raise StackError(
            f"{recipe.package}: {recipe.minimum} or newer is wanted, but {where} has {version.strip('()')};"
            f" put {_list_commands(recipe)} on PATH"
        )
    return version.partition("+")[0].partition("~")[0].rpartition(":")[2]


def _speak_plainly() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _run(command: list[str], folder: Path, log: Path) -> None:
    with log.open("ab") as output:
        code = subprocess.run(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=_speak_plainly(), check=False
        ).returncode
    if code:
        raise StackError(f"{command[0]} failed with {code}")
