"""What the stack stands on: each tool with its version, and how it comes onto a machine that has nothing.

Versions are pinned where the source keeps them. A distribution keeps one version of a package only, so of those the
lowest one that will do is named, and the folder carries the version that came.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

__all__ = ["RECIPES", "Builder", "DebianPackage", "GoTool", "PythonPackage", "Recipe"]

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "collector" / "builder.yaml"


@dataclass(frozen=True)
class Builder:
    """An OpenTelemetry Collector, made from its manifest by a builder of the release `release`."""

    name: str
    release: str
    manifest: Path

    @property
    def version(self) -> str:
        """The release, and a digest of the manifest, so that other components are another version."""
        lines = self.manifest.read_text(encoding="utf-8").splitlines()
        parts = "\n".join(line for line in lines if not line.startswith("#"))
        return f"{self.release}-{sha256(parts.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class GoTool:
    """A program of a Go module, which `go install` would refuse for a replace line; as a dependency it builds."""

    name: str
    version: str
    package: str


@dataclass(frozen=True)
class PythonPackage:
    """A Python distribution in an environment of its own."""

    name: str
    version: str
    distribution: str


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian, unpacked into a folder; the system stays as it is.

    Args:
        name: what the tool is called here.
        package: the package.
        program: where in it the program is.
        minimum: the lowest version that will do.
        suite: the suite it comes from; empty for those the machine has.
        needs: whether what it depends on, and the system lacks, is unpacked beside it.
        commands: what a program on PATH that serves as well may be called.
    """

    name: str
    package: str
    program: str
    minimum: str
    suite: str = ""
    needs: bool = False
    commands: tuple[str, ...] = ()


Recipe: TypeAlias = Builder | GoTool | PythonPackage | DebianPackage


def _read_release(manifest: Path) -> str:
    lines = manifest.read_text(encoding="utf-8").splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("  version:"))


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Builder("collector", _read_release(MANIFEST), MANIFEST),
        GoTool("jaeger", "1.62.0", "github.com/jaegertracing/jaeger/cmd/all-in-one"),
        PythonPackage("phoenix", "20.26.1", "arize-phoenix"),
        DebianPackage("prometheus", "prometheus", "usr/bin/prometheus", "2.40", needs=True, commands=("prometheus",)),
        DebianPackage(
            "compose", "docker-compose", "usr/libexec/docker/cli-plugins/docker-compose", "2.20", suite="sid"
        ),
        DebianPackage(
            "chromium",
            "chromium",
            "usr/lib/chromium/chromium",
            "100",
            needs=True,
            commands=("chromium", "chromium-browser", "google-chrome"),
        ),
    )
}
"""Every tool, by name."""
