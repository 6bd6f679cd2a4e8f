"""Requests in files: kept across processes, given back in order, bounded, and shared without being sent twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from otflow.pipeline import spool as module
from otflow.pipeline.spool import Spool


def drain(spool: Spool) -> list[tuple[bytes, int, bool]]:
    """Take everything, and remove it."""
    found = []
    while (taken := spool.take()) is not None:
        found.append((taken.request, taken.spans, taken.ours))
        spool.done(taken.path)
    return found


def test_what_was_written_comes_back_in_order(tmp_path: Path) -> None:
    """Requests come back in the order in which they were written, with the number of their spans."""
    spool = Spool(tmp_path / "deep" / "spool")
    assert spool.take() is None
    for number in range(20):
        assert spool.write(b"%d" % number, number)
    assert drain(spool) == [(b"%d" % number, number, True) for number in range(20)]
    assert [*(tmp_path / "deep" / "spool").iterdir()] == []


def test_it_outlives_the_process(tmp_path: Path) -> None:
    """What a process wrote, another one sends, in order, and knows that it is not its own."""
    code = f"from otflow.pipeline.spool import Spool; from pathlib import Path; s = Spool(Path({str(tmp_path)!r}))\n"
    for word in ("first", "second"):
        subprocess.run([sys.executable, "-c", f"{code}s.write(b'{word}', 3)"], check=True)
    spool = Spool(tmp_path)
    spool.write(b"third", 1)
    assert drain(spool) == [(b"first", 3, False), (b"second", 3, False), (b"third", 1, True)]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Payloads are in there, so folder and files are for their owner only."""
    spool = Spool(tmp_path / "spool")
    spool.write(b"secret", 1)
    [file] = (tmp_path / "spool").iterdir()
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "spool", file)] == [0, 0]


def test_what_was_not_sent_stays_first(tmp_path: Path) -> None:
    """A request that was given back is the next again, also for others."""
    spool = Spool(tmp_path)
    for number in range(3):
        spool.write(b"%d" % number, 1)
    taken = spool.take()
    assert taken is not None
    spool.give_back(taken.path)
    assert [request for request, _, _ in drain(Spool(tmp_path))] == [b"0", b"1", b"2"]
    assert spool.take() is None


def test_it_is_bounded(tmp_path: Path) -> None:
    """What would be too much is refused, whoever wrote what lies there, until there is room again."""
    one, other = Spool(tmp_path, 1000), Spool(tmp_path, 1000)
    assert one.write(b"x" * 600, 1)
    assert not one.write(b"x" * 600, 1)
    assert not Spool(tmp_path, 1000).write(b"x" * 600, 1)
    assert not other.write(b"x" * 401, 1)
    assert len(drain(other)) == 1
    assert one.write(b"x" * 1000, 1)
    assert not one.write(b"x", 1)


def test_two_take_each_once(tmp_path: Path) -> None:
    """Two who share a folder send each request once, between them."""
    one, other = Spool(tmp_path), Spool(tmp_path)
    for number in range(30):
        (one if number % 2 else other).write(b"%d" % number, 1)
    found = []
    while (taken := one.take()) is not None:
        found.append(taken.request)
        one.done(taken.path)
        if (second := other.take()) is not None:
            found.append(second.request)
            other.done(second.path)
    assert sorted(found, key=int) == [b"%d" % number for number in range(30)]


def test_what_a_dead_process_took_comes_back(tmp_path: Path) -> None:
    """What someone took and never gave back is everybody's after a minute; what he wrote half is removed."""
    spool = Spool(tmp_path)
    spool.write(b"a", 1)
    taken = spool.take()
    assert taken is not None
    half = tmp_path / ".00000000000000000001-1.x-00000000-1.otlp"
    half.write_bytes(b"half")
    other = Spool(tmp_path)
    assert other.take() is None
    assert half.exists()
    for path in (taken.path, half):
        os.utime(path, (0, 0))
    assert [request for request, _, _ in drain(other)] == [b"a"]
    assert not half.exists()


def test_a_slow_request_is_not_taken_for_abandoned(tmp_path: Path) -> None:
    """What counts is when a request was taken, not when it was written."""
    spool = Spool(tmp_path)
    spool.write(b"a", 1)
    [file] = tmp_path.iterdir()
    os.utime(file, (0, 0))
    assert spool.take() is not None
    assert Spool(tmp_path).take() is None


def test_a_request_can_be_split(tmp_path: Path) -> None:
    """The parts of a request stand in its place, and have its owner."""
    Spool(tmp_path).write(b"foreign", 5)
    spool = Spool(tmp_path)
    spool.write(b"after", 1)
    taken = spool.take()
    assert taken is not None
    assert spool.split(taken, [(b"for", 2), (b"eign", 3)]) == 5
    spool.done(taken.path)
    again = spool.take()
    assert again is not None
    assert spool.split(again, [(b"f", 1), (b"or", 1)]) == 2
    spool.done(again.path)
    expected = [(b"f", 1, False), (b"or", 1, False), (b"eign", 3, False), (b"after", 1, True)]
    assert drain(spool) == expected


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be made is an error when the spool is made."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            Spool(place)


def test_a_folder_that_goes_away_is_a_full_one(tmp_path: Path) -> None:
    """When the disk takes nothing any more, writing says so and raises nothing; and there is nothing to take."""
    spool = Spool(tmp_path / "spool")
    spool.write(b"a", 1)
    taken = spool.take()
    assert taken is not None
    taken.path.unlink()
    (tmp_path / "spool").rmdir()
    assert not spool.write(b"b", 1)
    assert spool.take() is None
    spool.give_back(taken.path)
    spool.done(taken.path)
    assert spool.split(taken, [(b"a", 1)]) == 0


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written to its end is removed."""

    class Full:
        def __init__(self, descriptor: int, mode: str) -> None:
            os.close(descriptor)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def write(self, request: bytes) -> None:
            raise OSError(28, "No space left on device")

    spool = Spool(tmp_path)
    monkeypatch.setattr(module.os, "fdopen", Full)
    assert not spool.write(b"a", 1)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_is_another_process(tmp_path: Path) -> None:
    """What the child of a fork writes is not the parent's."""
    spool = Spool(tmp_path)
    spool.write(b"parent", 1)
    child = os.fork()
    if not child:
        spool.write(b"child", 1)
        os._exit(0)
    os.waitpid(child, 0)
    assert drain(spool) == [(b"parent", 1, True), (b"child", 1, False)]
