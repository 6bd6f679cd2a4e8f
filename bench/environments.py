"""Makes one virtual environment per peer, and makes it anew when what it should hold has changed.

Location: the folder named by BENCH_VENVS, or `otflow-bench-venvs` in the folder for temporary files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

from catalogue import Peer

__all__ = ["EnvironmentFailedError", "ensure"]

ROOT = Path(__file__).resolve().parent.parent
_STAMP = "bench-stamp"


class EnvironmentFailedError(Exception):
    """The environment of a peer could not be made."""


def folder() -> Path:
    """Return the folder that holds the environments."""
    default = Path(tempfile.gettempdir()) / "otflow-bench-venvs"
    return Path(os.environ.get("BENCH_VENVS", default))


def python_of(home: Path) -> Path:
    """Return the interpreter of an environment."""
    return home / "Scripts" / "python.exe" if os.name == "nt" else home / "bin" / "python"


def project_files() -> Iterator[Path]:
    """Yield the files that make up this project as it is installed."""
    yield ROOT / "pyproject.toml"
    package = ROOT / "otflow"
    yield from sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")


def fingerprint(peer: Peer) -> str:
    """Return a digest of everything that an environment should hold."""
    digest = hashlib.sha256(f"{sys.version}\n{peer.requirements}".encode())
    if peer.project:
        for path in project_files():
            digest.update(f"{path.relative_to(ROOT)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def pip(peer: Peer, python: Path, *arguments: str) -> None:
    """Run pip in an environment.

    Raises:
        EnvironmentFailedError: pip failed; the message ends with its last lines.
    """
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-8:])
        raise EnvironmentFailedError(f"{peer.name}: pip {' '.join(arguments)} failed:\n{tail}")


def ensure(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, which is made when it is missing or out of date.

    The project is installed, not linked: every cell of a command measures the same code, even when somebody
    edits the working tree meanwhile.

    Raises:
        EnvironmentFailedError: the environment could not be made.
    """
    home = folder() / peer.name
    python, stamp, wanted = python_of(home), home / _STAMP, fingerprint(peer)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment of {peer.name}", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    venv.create(home, with_pip=True, clear=True)
    requirements = [*peer.requirements, *([str(ROOT)] if peer.project else [])]
    if requirements:
        pip(peer, python, "install", *requirements)
    stamp.write_text(wanted)
    return python
