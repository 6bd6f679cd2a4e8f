"""The payload store: what is put comes back to the letter, once, for its owner, and not for ever."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.errors import WorkflowConfigurationError
from otflow.payload_store import PayloadMissingError, PayloadStore, PayloadStoreError


def files(folder: Path) -> list[Path]:
    """List the files of a store."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path):
    """Make a store, and wait for its sweeps in the end."""
    made = PayloadStore(tmp_path / "payloads")
    yield made
    made.close()


@given(st.binary())
def test_what_is_put_comes_back(tmp_path_factory, data):
    """A payload is found by the name that `put` returned, in any store on the same folder."""
    folder = tmp_path_factory.mktemp("store")
    ref = PayloadStore(folder).put(data)
    assert PayloadStore(folder).get(ref) == data


def test_the_same_content_is_kept_once(store):
    """Content has one name and one file, however often it is put."""
    assert store.put(b"abc") == store.put(b"abc") == PayloadStore(store.directory).put(b"abc")
    assert store.put(b"abd") != store.put(b"abc")
    assert len(files(store.directory)) == store.written == 2


def test_only_the_owner_gets_in(store):
    """Folders and files are closed to everyone else, also when the folder was open before."""
    store.put(b"abc")
    folders = [path for path in store.directory.rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files(store.directory)} == {0o600}
    (store.directory / "sha256").chmod(0o755)
    PayloadStore(store.directory).close()
    assert (store.directory / "sha256").stat().st_mode & 0o777 == 0o700


def test_what_is_missing(store):
    """A payload that is not there is a LookupError that says why that may be."""
    ref = store.put(b"abc")
    files(store.directory)[0].unlink()
    with pytest.raises(PayloadMissingError, match="removed because of its age"):
        store.get(ref)
    with pytest.raises(LookupError):
        store.get(ref)


@pytest.mark.parametrize("ref", ["", "abc", "sha256:abc", "sha256:" + "g" * 64, "sha256:../../../etc/passwd", None, 5])
def test_what_is_no_name(store, ref):
    """Only names that `put` gives lead to a file."""
    with pytest.raises(PayloadStoreError, match="names no payload"):
        store.get(ref)


def test_damage_is_seen(store):
    """Content that changed is never given back; what lost its content is written again."""
    ref = store.put(b"abc")
    [file] = files(store.directory)
    file.write_bytes(b"abd")
    with pytest.raises(PayloadStoreError, match="is damaged"):
        store.get(ref)
    file.write_bytes(b"")
    assert store.get(store.put(b"abc")) == b"abc"


def test_what_cannot_be_read(store):
    """A folder in the place of a file is an error that names it."""
    ref = store.put(b"abc")
    [file] = files(store.directory)
    file.unlink()
    file.mkdir()
    with pytest.raises(PayloadStoreError, match="cannot be read"):
        store.get(ref)


def test_writing_fails(store, caplog):
    """A payload that cannot be written is counted, and the first one is logged."""
    digest = store.put(b"abc").removeprefix("sha256:")
    [file] = files(store.directory)
    file.unlink()
    file.parent.rmdir()
    file.parent.write_bytes(b"in the way")
    with caplog.at_level(logging.WARNING, "otflow"):
        for _ in range(3):
            with pytest.raises(PayloadStoreError, match="cannot be kept"):
                store.put(b"abc")
    assert digest[:2] == file.parent.name
    assert store.failures == 3
    assert len(caplog.records) == 1


def test_too_large(tmp_path):
    """A payload that would not fit into the store is refused."""
    store = PayloadStore(tmp_path, max_bytes=10)
    with pytest.raises(PayloadStoreError, match="it has 11 bytes, and the store keeps 10 at most"):
        store.put(b"x" * 11)
    assert files(tmp_path) == []
    store.close()


def test_nothing_is_left_of_a_write_that_fails(store, monkeypatch):
    """A write that is broken off leaves no file behind."""

    def replace(*_):
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PayloadStoreError):
        store.put(b"abc")
    assert files(store.directory) == []


def test_the_oldest_goes(store):
    """A sweep removes what is too old, and the oldest while there is too much; what is put again is new."""
    refs = [store.put(bytes([n]) * 100) for n in range(5)]
    for age, ref in enumerate(refs):
        digest = ref.removeprefix("sha256:")
        os.utime(store.directory / "sha256" / digest[:2] / digest[2:], (1e9 - age, 1e9 - age))
    assert store.put(b"\x04" * 100) == refs[4]
    store.max_age, store.max_bytes = 1e12, 250
    assert store.sweep() == (2, 200, 3, 300)
    assert store.get(refs[4])
    assert store.get(refs[0])
    store.max_age = 3600
    assert store.sweep() == (1, 100, 1, 100)
    assert store.get(refs[4])
    assert store.sweep() == (1, 100, 0, 0)


def test_what_was_never_finished_goes(store):
    """A file that a killed process left is removed after a while, and never counted as a payload."""
    store.put(b"abc")
    [file] = files(store.directory)
    old, new = file.with_name(".new-1-a"), file.with_name(".new-2-b")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    assert store.sweep().kept == 1
    assert files(store.directory) == sorted([file, new])


def test_sweeps_happen_by_themselves(tmp_path, monkeypatch):
    """At opening, and after so many bytes or writes, a thread sweeps."""
    store = PayloadStore(tmp_path, max_bytes=800)
    store.close()
    for n in range(100):
        store.put(bytes([n]) * 90)
        store.close()
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 800 + 100 + 90
    swept = threading.Event()
    monkeypatch.setattr(PayloadStore, "sweep", lambda self: swept.set())
    store.max_bytes = 1 << 30
    for n in range(300):
        store.put(b"%d" % n)
    assert swept.wait(20)
    store.close()


def test_a_sweep_that_fails_is_logged(store, caplog):
    """A folder that is gone stops nobody; who sweeps by hand hears of it."""
    store.close()
    (store.directory / "sha256").rmdir()
    with pytest.raises(PayloadStoreError, match="cannot be listed"):
        store.sweep()
    with caplog.at_level(logging.WARNING, "otflow"):
        store._sweep_quietly()
    assert "Nothing is removed from it" in caplog.text
    assert store.get(store.put(b"abc")) == b"abc"


def test_many_threads(store):
    """Threads that put the same and other content at once do not harm each other."""
    data = [b"%d" % (n % 20) * 50 for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(store.put, data))
    assert [store.get(ref) for ref in refs] == data
    assert len(files(store.directory)) == 20


def test_many_processes(tmp_path):
    """Processes that write, read and sweep one folder at once do not harm each other."""
    code = (
        "import sys; from otflow.payload_store import PayloadStore\n"
        "store = PayloadStore(sys.argv[1], max_bytes=1 << 20)\n"
        "data = [b'%d' % (n % 50) * 300 for n in range(100)]\n"
        "for each in data:\n    ref = store.put(each); store.sweep(); assert store.get(ref) == each\n"
        "print(store.failures)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=100)[0] for process in running] == ["0\n"] * 3
    assert len(files(tmp_path)) == 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_after_a_fork(store):
    """A forked process can go on with a store, whatever the threads of the other one were doing."""
    with store._lock:
        child = os.fork()
        if not child:  # pragma: no cover  in another process
            os._exit(0 if store.get(store.put(b"child")) == b"child" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(files(store.directory)) == 1


def test_all_faults_at_once(tmp_path):
    """One message names everything that is wrong with the arguments."""
    with pytest.raises(WorkflowConfigurationError) as caught:
        PayloadStore("", max_bytes=0, max_age=float("nan"))
    text = str(caught.value)
    assert "directory='' is no path" in text
    assert "max_bytes=0 is no number of bytes above 0" in text
    assert "max_age=nan is no number of seconds above 0" in text
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorkflowConfigurationError, match="the folder cannot be made"):
        PayloadStore(tmp_path / "file")
