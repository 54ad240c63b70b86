"""Several processes at one store: one writer an ingest, and a dead one's bytes are gone on with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.lock import FileLock
from prestow.digest import Digest
from prestow.errors import UnavailableError
from tests.conformance.content import DATA, DIGEST, put

PRELUDE = """
import sys
from pathlib import Path
from prestow.content.local import LocalStore
from prestow.content.lock import FileLock
from prestow.digest import Digest
from prestow.errors import PrestowError
home = Path(sys.argv[1])
data = bytes(range(256)) * 5000
store = LocalStore(home / "content", home / "ingest", lock_timeout=float(sys.argv[2]))
def say(word):
    print(word, flush=True)
"""

HOLD = """
writer = store.writer("r", total=len(data))
writer.write(data[:700_000])
say(writer.offset)
if sys.stdin.readline() == "go\\n":
    writer.write(data[writer.offset:])
    writer.commit(len(data), Digest.of(data))
    say("committed")
"""

FETCH = """
sys.stdin.readline()
try:
    with store.writer("r", total=len(data), digest=Digest.of(data)) as writer:
        writer.write(data[writer.offset:])
        writer.commit(len(data), Digest.of(data))
    say("fetched")
except PrestowError as error:
    say(type(error).__name__)
"""

COMMIT_OWN = """
sys.stdin.readline()
with store.writer(sys.argv[3]) as writer:
    writer.write(data)
    writer.commit(len(data), Digest.of(data))
say("committed")
"""

COMMIT_SEALED = """
sys.stdin.readline()
store.commit_ingest("r", len(data), Digest.of(data))
say("committed")
"""


class Process:
    """A second process at the store, ready when it has said its first word."""

    def __init__(self, script: str, home: Path, *args: object) -> None:
        command = [sys.executable, "-c", PRELUDE + script, str(home), *map(str, args)]
        self.run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def word(self) -> str:
        """Wait for the next thing that it says."""
        assert self.run.stdout is not None
        return self.run.stdout.readline().strip()

    def go(self) -> None:
        """Let it go on."""
        assert self.run.stdin is not None
        self.run.stdin.write("go\n")
        self.run.stdin.flush()

    def end(self) -> int:
        """Wait until it has ended, and give its status."""
        self.run.communicate()
        return self.run.returncode

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.run.kill()
        self.end()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0)


def test_a_killed_writer_leaves_its_bytes_to_the_next(store: LocalStore, tmp_path: Path) -> None:
    other = Process(HOLD, tmp_path, 0)
    assert other.word() == "700000"
    with pytest.raises(UnavailableError, match=f"by process {other.run.pid}; waited 0 s"):
        store.writer("r")

    other.kill()

    with store.writer("r") as writer:
        assert writer.offset == 700_000
        writer.write(DATA[700_000:])
        writer.commit(len(DATA), DIGEST)
    assert store.read(DIGEST) == DATA


def test_a_writer_waits_for_another_and_finds_its_blob(store: LocalStore, tmp_path: Path) -> None:
    first = Process(HOLD, tmp_path, 0)
    first.word()
    second = Process(FETCH, tmp_path, 60)
    second.go()

    first.go()

    assert first.word() == "committed"
    assert second.word() == "AlreadyExistsError"
    assert (first.end(), second.end()) == (0, 0)
    assert store.read(DIGEST) == DATA
    assert list(store.statuses()) == []


def test_of_many_fetching_the_same_one_writes(store: LocalStore, tmp_path: Path) -> None:
    processes = [Process(FETCH, tmp_path, 60) for _ in range(6)]
    for process in processes:
        process.go()

    words = sorted(process.word() for process in processes)

    assert [process.end() for process in processes] == [0] * 6
    assert words == ["AlreadyExistsError"] * 5 + ["fetched"]
    assert store.read(DIGEST) == DATA
    assert list(store.statuses()) == []
    assert list(store.trash.iterdir()) == []


def test_many_committing_the_same_blob_all_succeed(store: LocalStore, tmp_path: Path) -> None:
    processes = [Process(COMMIT_OWN, tmp_path, 60, f"ref-{n}") for n in range(4)]
    for process in processes:
        process.go()

    assert [process.word() for process in processes] == ["committed"] * 4
    assert [process.end() for process in processes] == [0] * 4
    assert [info.digest for info in store.walk()] == [DIGEST]
    assert list(store.statuses()) == []


def test_many_committing_the_same_ingest_all_succeed(store: LocalStore, tmp_path: Path) -> None:
    with store.writer("r") as writer:
        writer.write(DATA)
        writer.seal()
    processes = [Process(COMMIT_SEALED, tmp_path, 60) for _ in range(4)]
    for process in processes:
        process.go()

    assert [process.word() for process in processes] == ["committed"] * 4
    assert [process.end() for process in processes] == [0] * 4
    assert store.read(DIGEST) == DATA
    assert list(store.statuses()) == []


def test_reading_goes_on_while_others_commit_and_delete(store: LocalStore, tmp_path: Path) -> None:
    other = Process(COMMIT_OWN, tmp_path, 60, "ref")
    put(store, DATA)
    with store.open(DIGEST) as file:
        head = file.read(1000)
        store.delete(DIGEST)
        other.go()
        assert other.word() == "committed"

        assert head + file.read() == DATA
    assert other.end() == 0
    assert store.read(DIGEST) == DATA


def test_a_child_forked_meanwhile_does_not_keep_a_released_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", timeout=0, what="it")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)

    lock.release()

    with FileLock(tmp_path / "lock", timeout=0, what="it"):
        pass
    os.close(writer)
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0


def test_a_lock_file_that_was_removed_by_hand_does_not_admit_two(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = FileLock(path, timeout=0, what="it")
    path.unlink()
    second = FileLock(path, timeout=0, what="it")

    with pytest.raises(UnavailableError):
        FileLock(path, timeout=0, what="it")

    first.release()
    with pytest.raises(UnavailableError):
        FileLock(path, timeout=0, what="it")
    second.release()
    second.release()


def test_lock_files_stay(store: LocalStore) -> None:
    with store.writer("r") as writer:
        writer.write(b"x")
        writer.commit(1, Digest.of(b"x"))

    assert len(list((store.ingests / ".locks").iterdir())) == 1


def test_who_waits_for_work_that_goes_on_waits_until_it_stands_still(tmp_path: Path) -> None:
    moved = iter(range(20))
    with FileLock(tmp_path / "lock", timeout=0, what="it"), pytest.raises(UnavailableError):
        FileLock(tmp_path / "lock", timeout=0.05, what="it", progress=lambda: next(moved, "still"))

    assert next(moved, "all were seen") == "all were seen"
