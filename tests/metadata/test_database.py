"""The database file: shared by threads and processes, durable, and never taken for something that it is not."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prestow.errors import AlreadyExistsError, PreconditionError, StorageError, UnavailableError
from prestow.metadata.database import Cursor, Database
from tests.processes import Child

INSERT = "INSERT INTO leases (id, owner, created_at, expires_at, boot_id, ends_at) VALUES (?, 'owner', 1, 2, 'boot', 3)"
COUNT = "SELECT count(*) FROM leases"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "metadata.db", timeout=20)
    yield opened
    opened.close()


def add(cursor: Cursor, name: str) -> None:
    cursor.execute(INSERT, (name,))


def count(db: Database) -> int:
    return int(db.read(COUNT)[0][0])


def add_and_raise(db: Database, name: str) -> None:
    with db.transaction() as cursor:
        add(cursor, name)
        raise KeyError


def test_a_transaction_is_seen_when_it_has_ended(db: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "metadata.db")

    with db.transaction() as cursor:
        add(cursor, "a")
        assert (count(db), count(other)) == (1, 0)

    assert count(other) == 1
    other.close()


def test_a_transaction_that_raises_changes_nothing(db: Database) -> None:
    with pytest.raises(KeyError):
        add_and_raise(db, "a")

    assert count(db) == 0


def test_a_transaction_within_another_is_part_of_it(db: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "metadata.db")
    with db.transaction() as outer:
        add(outer, "a")
        with db.transaction() as inner:
            add(inner, "b")
        with pytest.raises(KeyError):
            add_and_raise(db, "c")
        assert count(other) == 0

    assert [row["id"] for row in other.read("SELECT id FROM leases ORDER BY id")] == ["a", "b"]
    other.close()


def test_an_outer_transaction_that_raises_undoes_the_inner(db: Database) -> None:
    def work() -> None:
        with db.transaction():
            with db.transaction() as cursor:
                add(cursor, "a")
            raise KeyError

    with pytest.raises(KeyError):
        work()

    assert count(db) == 0


def test_the_file_is_for_us_alone_and_durable(db: Database, tmp_path: Path) -> None:
    assert (tmp_path / "metadata.db").stat().st_mode & 0o777 == 0o600
    with db.transaction() as cursor:
        add(cursor, "a")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("metadata.db*")} == {0o600}
    assert db.read("PRAGMA journal_mode")[0][0] == "wal"
    assert db.read("PRAGMA synchronous")[0][0] == 2
    assert db.read("PRAGMA foreign_keys")[0][0] == 1


def test_a_key_that_is_taken_already_exists(db: Database) -> None:
    with db.transaction() as cursor:
        add(cursor, "a")

    with pytest.raises(AlreadyExistsError), db.transaction() as cursor:
        add(cursor, "a")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO lease_resources VALUES ('none', 'content', 'x')",
        "INSERT INTO snapshots VALUES ('erofs', 'a', 'active', 'no parent', 1, NULL, 1)",
        "INSERT INTO snapshots VALUES ('erofs', 'a', 'other', NULL, 1, NULL, 1)",
        "INSERT INTO images (name, digest, media_type, size, created_at, updated_at) VALUES ('a', 'b', 'c', -1, 1, 1)",
    ],
)
def test_other_rules_of_the_schema_are_preconditions(db: Database, statement: str) -> None:
    with pytest.raises(PreconditionError), db.transaction() as cursor:
        cursor.execute(statement)


def test_a_wrong_statement_is_a_storage_error(db: Database) -> None:
    with pytest.raises(StorageError, match="no such table"):
        db.read("SELECT * FROM missing")


def test_a_parent_stays_as_long_as_its_child(db: Database) -> None:
    with db.transaction() as cursor:
        cursor.execute("INSERT INTO snapshots VALUES ('erofs', 'a', 'committed', NULL, 1, NULL, 1)")
        cursor.execute("INSERT INTO snapshots VALUES ('erofs', 'b', 'active', 'a', 2, NULL, 1)")

    with pytest.raises(PreconditionError), db.transaction() as cursor:
        cursor.execute("DELETE FROM snapshots WHERE key = 'a'")
    with pytest.raises(AlreadyExistsError), db.transaction() as cursor:
        cursor.execute("INSERT INTO snapshots VALUES ('erofs', 'c', 'active', NULL, 2, NULL, 1)")


def test_a_leased_snapshot_stays_as_long_as_its_lease(db: Database) -> None:
    with db.transaction() as cursor:
        cursor.execute("INSERT INTO snapshots VALUES ('erofs', 'a', 'committed', NULL, 1, NULL, 1)")
        add(cursor, "lease")
        cursor.execute("INSERT INTO lease_resources VALUES ('lease', 'snapshot', 'a')")

    with pytest.raises(PreconditionError, match="a lease holds"), db.transaction() as cursor:
        cursor.execute("DELETE FROM snapshots")

    with db.transaction() as cursor:
        cursor.execute("DELETE FROM leases")
        cursor.execute("DELETE FROM snapshots")
    assert db.read("SELECT * FROM lease_resources") == []


def test_a_closed_database_opens_again_when_used(db: Database) -> None:
    db.close()
    db.close()

    assert count(db) == 0


def test_threads_take_turns(db: Database) -> None:
    def work(n: int) -> None:
        for m in range(10):
            with db.transaction() as cursor:
                before = count(db)
                add(cursor, f"{n}.{m}")
                assert count(db) == before + 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count(db) == 40


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked process, and give its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_has_its_own_connection(db: Database) -> None:
    with db.transaction() as cursor:
        add(cursor, "parent")

    def work() -> None:
        with db.transaction() as cursor:
            add(cursor, "child")
        assert count(db) == 2

    assert in_child(work) == 0
    with db.transaction() as cursor:
        add(cursor, "parent again")
    assert count(db) == 3
    assert db.read("PRAGMA integrity_check")[0][0] == "ok"


def test_a_process_forked_within_a_transaction_waits_like_any_other(tmp_path: Path) -> None:
    db = Database(tmp_path / "metadata.db", timeout=0.1)

    def work() -> None:
        with pytest.raises(UnavailableError), db.transaction():
            pass
        assert count(db) == 0

    with db.transaction() as cursor:
        add(cursor, "a")
        assert in_child(work) == 0
    assert count(db) == 1
    db.close()


HOLD = """
import sys
from pathlib import Path
from prestow.metadata.database import Database
db = Database(Path(sys.argv[1]))
with db.transaction() as cursor:
    cursor.execute(sys.argv[2], ("held",))
    print("holding", flush=True)
    sys.stdin.readline()
"""

ADD = """
import sys
from pathlib import Path
from prestow.metadata.database import Database
sys.stdin.readline()
db = Database(Path(sys.argv[1]), timeout=60)
for n in range(5):
    with db.transaction() as cursor:
        before = db.read("SELECT count(*) FROM leases")[0][0]
        cursor.execute(sys.argv[2], (f"{sys.argv[3]}.{n}",))
        assert db.read("SELECT count(*) FROM leases")[0][0] == before + 1
"""


def start(script: str, *args: str) -> Child[str]:
    command = [sys.executable, "-c", script, *args]
    return Child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_busy_database_is_unavailable_and_still_read(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    other = start(HOLD, str(path), INSERT)
    assert other.stdout is not None
    other.stdout.readline()
    db = Database(path, timeout=0.05)

    with pytest.raises(UnavailableError, match="another process"), db.transaction():
        pass
    assert count(db) == 0

    other.kill()
    other.communicate()
    with db.transaction():
        assert count(db) == 0, "what a killed process had not committed never was"
    db.close()


def test_processes_make_the_database_together_and_write_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    processes = [start(ADD, str(path), INSERT, str(n)) for n in range(5)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    for process in processes:
        process.communicate()

    assert [process.returncode for process in processes] == [0] * 5
    db = Database(path)
    assert count(db) == 25
    db.close()
