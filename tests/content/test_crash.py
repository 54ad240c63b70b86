"""Killed before any system call, or with any of them failing: nothing half done is ever visible, and again succeeds."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import ExhaustedError, PrestowError, StorageError
from tests.conformance.content import put
from tests.conformance.crash import EVERY, failing_at_each_call, killed_at_each_call

PIECES = [bytes([n]) * 1000 for n in range(4)]
DATA = b"".join(PIECES)
DIGEST = Digest.of(DATA)


def open_store(home: Path) -> LocalStore:
    return LocalStore(home / "content", home / "ingest", lock_timeout=5)


def fetch(home: Path) -> None:
    """Write what is missing of an ingest, and seal it."""
    store = open_store(home)
    if store.has(DIGEST, len(DATA)):
        return
    with store.writer("r", total=len(DATA), digest=DIGEST) as writer:
        for piece in range(0, len(DATA), 1000):
            if piece >= writer.offset:
                writer.write(DATA[piece : piece + 1000])
        if not writer.sealed:
            writer.seal()


def commit(home: Path) -> None:
    open_store(home).commit_ingest("r", len(DATA), DIGEST)


def fetch_then_commit(home: Path) -> None:
    fetch(home)
    commit(home)


class Homes:
    """A new home for each attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    @property
    def current(self) -> Path:
        """The one in use."""
        return self.folder / str(self.count)

    def move(self) -> None:
        """Take the next."""
        self.count += 1


def is_consistent(home: Path) -> bool:
    """Whether the blob is here, which must then be whole."""
    store = open_store(home)
    here = store.has(DIGEST)
    assert [info.size for info in store.walk()] == ([len(DATA)] if here else [])
    assert not here or store.read(DIGEST) == DATA
    return here


def assert_tidy(home: Path) -> None:
    """After a collection nothing but the blob, the layout and lock files is left."""
    store = open_store(home)
    store.sweep_ingests(lambda _: False)
    store.empty_trash()
    assert list(store.trash.iterdir()) == []
    assert [path.name for path in store.ingests.iterdir()] == [".locks"]


@pytest.mark.parametrize("every", EVERY)
def test_killed_before_any_call_of_fetch_and_commit(tmp_path: Path, every: int) -> None:
    homes = Homes(tmp_path)
    for _ in killed_at_each_call(lambda: fetch_then_commit(homes.current), every):
        is_consistent(homes.current)

        fetch_then_commit(homes.current)

        assert is_consistent(homes.current)
        assert_tidy(homes.current)
        homes.move()
    assert homes.count * every > 40


def test_killed_again_and_again_it_ends(tmp_path: Path) -> None:
    for _ in killed_at_each_call(lambda: fetch_then_commit(tmp_path)):
        is_consistent(tmp_path)

    assert is_consistent(tmp_path)
    assert_tidy(tmp_path)


def test_killed_before_any_call_of_delete(tmp_path: Path) -> None:
    put(open_store(tmp_path), DATA)

    def delete() -> None:
        store = open_store(tmp_path)
        if store.has(DIGEST):
            store.delete(DIGEST)

    for _ in killed_at_each_call(delete):
        if not is_consistent(tmp_path):
            put(open_store(tmp_path), DATA)

    assert_tidy(tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM])
def test_any_call_failing_is_an_error_of_ours_and_again_succeeds(tmp_path: Path, code: int) -> None:
    homes = Homes(tmp_path)
    mattered = 0
    for error in failing_at_each_call(lambda: fetch_then_commit(homes.current), OSError(code, os.strerror(code))):
        mattered += error is not None
        is_consistent(homes.current)

        fetch_then_commit(homes.current)

        assert is_consistent(homes.current)
        assert_tidy(homes.current)
        homes.move()
    assert mattered > 10


@pytest.mark.parametrize(("code", "kind"), [(errno.EIO, StorageError), (errno.ENOSPC, ExhaustedError)])
def test_bytes_that_a_sync_lost_are_never_a_blob(tmp_path: Path, code: int, kind: type[PrestowError]) -> None:
    store = open_store(tmp_path)
    fetch(tmp_path)
    lost = 0
    for error in failing_at_each_call(lambda: commit(tmp_path), OSError(code, os.strerror(code))):
        if error is not None and "failed to keep it" in str(error):
            lost += 1
            assert isinstance(error, kind)
            assert not store.has(DIGEST)
            status = store.status("r")
            assert status is None or status.offset == 0
        if store.has(DIGEST):
            store.delete(DIGEST)
        store.abort("r")
        fetch(tmp_path)

    assert lost == 3, "sync of the file; opening and sync of its folder"


WRITE = """
import sys, resource
from pathlib import Path
from prestow.content.local import LocalStore
from prestow.errors import PrestowError
store = LocalStore(Path(sys.argv[1]) / "content", Path(sys.argv[1]) / "ingest", lock_timeout=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
with store.writer("r") as writer:
    try:
        for n in range(4):
            writer.write(bytes([n]) * 1000)
    except PrestowError as error:
        print(type(error).__name__, writer.offset)
    try:
        writer.write(b"x")
    except PrestowError as error:
        print(type(error).__name__, writer.offset)
"""


def test_a_short_write_is_counted_to_the_byte(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["ExhaustedError", "2500", "ExhaustedError", "2500"]
    with open_store(tmp_path).writer("r") as writer:
        assert writer.offset == 2500
        writer.write(DATA[2500:])
        writer.commit(len(DATA), DIGEST)
    assert is_consistent(tmp_path)
