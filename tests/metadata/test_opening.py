"""Opening the metadata database: a lost or damaged file is made again, a newer one is refused."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.content.quarantine import Quarantine
from prestow.errors import StorageError, UnsupportedError
from prestow.metadata.database import Cursor, Database
from prestow.metadata.leases import Leases
from prestow.metadata.schema import VERSION
from tests.metadata.test_database import add, count


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    Database(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    raw.close()
    before = path.read_bytes()

    with pytest.raises(UnsupportedError, match="newer prestow"):
        Database(path)

    assert path.read_bytes() == before


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _flipped_pages(path: Path) -> None:
    Database(path).close()
    data = path.read_bytes()
    path.write_bytes(data[:2000] + b"\xff" * (len(data) - 2000))


def test_a_folder_in_its_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").mkdir()

    with pytest.raises(StorageError, match=r"metadata\.db"):
        Database(tmp_path / "metadata.db")


@pytest.mark.parametrize("damage", [_garbage, _flipped_pages])
def test_a_file_that_is_no_database_any_more_goes_to_quarantine_and_another_is_filled(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "metadata.db"
    damage(path)
    damaged = path.read_bytes()

    db = Database(path, on_create=lambda cursor: add(cursor, "recovered"))

    assert count(db) == 1
    assert damaged in [
        Path(held.folder, "metadata.db").read_bytes() for held in Quarantine(tmp_path / "quarantine").list()
    ]
    db.close()


def test_who_had_a_damaged_file_open_goes_over_to_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    old, other = Database(path), Database(path)
    old.rebuild("somebody says so")

    with other.transaction() as cursor:
        add(cursor, "by another")

    assert count(old) == 1
    old.close()
    other.close()


def test_what_is_written_while_it_is_made_again_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    db = Database(path)

    def write() -> None:
        for number in range(15):
            Leases(db if number % 2 else Database(path)).create("a thread", 3600)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3):
        db.rebuild(f"for the {number}. time")
    for thread in threads:
        thread.join()

    assert len(Leases(db).list()) == 3 * 15
    db.close()


def test_rows_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    db = Database(tmp_path / "metadata.db")
    assert db.check() == []

    db.read("PRAGMA foreign_keys = OFF")
    with db.transaction() as cursor:
        cursor.execute("INSERT INTO lease_resources VALUES ('none', 'content', 'x')")

    assert db.check() == ["a row of lease_resources refers to none of leases"]
    db.close()


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Database(tmp_path / "missing" / "metadata.db")


@pytest.mark.parametrize("size", [None, 0])
def test_a_new_or_emptied_file_is_filled_in_one_transaction(tmp_path: Path, size: int | None) -> None:
    path = tmp_path / "metadata.db"
    if size is not None:
        path.write_bytes(b"")
    calls: list[int] = []

    def fill(cursor: Cursor) -> None:
        calls.append(1)
        add(cursor, "recovered")
        if len(calls) == 1:
            raise KeyError

    with pytest.raises(KeyError):
        Database(path, on_create=fill)
    for _ in range(2):
        db = Database(path, on_create=fill)
        assert count(db) == 1
        db.close()

    assert len(calls) == 2
