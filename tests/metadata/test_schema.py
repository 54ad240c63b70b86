"""Migration: a database of any older version comes to mean the same in the newest, once, or stays as it was."""

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.content.process_identity import Process
from prestow.digest import Digest
from prestow.errors import PreconditionError, StorageError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.database import Cursor, Database
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.leases import Lease, Leases
from prestow.metadata.schema import STEPS, VERSION
from prestow.oci.descriptor import Descriptor

Rows = dict[str, list[tuple[object, ...]]]

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
DIGESTS = st.binary(max_size=4).map(Digest.of).map(str)
TIMES = st.floats(0, 1e10)
OLD_IMAGES = st.lists(
    st.tuples(WORDS, DIGESTS, WORDS, st.integers(0, 2**62), TIMES, TIMES), unique_by=lambda row: row[0], max_size=4
)
OLD_CONTAINERS = st.lists(
    st.tuples(WORDS, WORDS, DIGESTS, WORDS, WORDS, WORDS, TIMES), unique_by=lambda row: row[0], max_size=4
)
OLD_LEASES = st.lists(st.tuples(WORDS, WORDS, TIMES, st.just(9e18), WORDS, TIMES), unique_by=lambda r: r[0], max_size=4)

_ELSEWHERE = Process("longer than any of WORDS", 1, 1)


def old(path: Path, rows: Rows, version: int = 1) -> None:
    """Make a database of an old version, with the SQL of its time."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        for step in STEPS[:version]:
            for statement in step:
                db.execute(statement)
        for table, values in rows.items():
            for row in values:
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()


def shape(path: Path) -> list[tuple[object, ...]]:
    """Return all that a database holds besides rows: tables, their columns, indexes, triggers, foreign keys."""
    with closing(sqlite3.connect(path)) as db:
        objects = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
        tables = [name for kind, name, _, _ in objects if kind == "table"]
        pragmas = [
            db.execute(f"PRAGMA {p}('{t}')").fetchall() for t in tables for p in ("table_xinfo", "foreign_key_list")
        ]
        return [*objects, *map(tuple, pragmas), tuple(db.execute("PRAGMA user_version").fetchone())]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metadata.db"


@settings(max_examples=20, deadline=None)
@given(OLD_IMAGES, OLD_CONTAINERS, OLD_LEASES)
def test_an_old_database_means_the_same_in_the_newest_version(
    tmp_path_factory: pytest.TempPathFactory, images: list[tuple], containers: list[tuple], leases: list[tuple]
) -> None:
    path = tmp_path_factory.mktemp("old") / "metadata.db"
    old(path, {"images": images, "containers": containers, "leases": leases})

    with closing(Database(path)) as db:
        assert set(Images(db).every()) == {
            ImageRecord("default", name, Descriptor(media_type, Digest.parse(digest), size), created, updated)
            for name, digest, media_type, size, created, updated in images
        }
        assert set(Containers(db).every()) == {
            ContainerRecord("default", row[0], row[1], Digest.parse(row[2]), *row[3:]) for row in containers
        }
        assert {lease.id: lease for lease in Leases(db, process=_ELSEWHERE).list()} == {
            row[0]: Lease(row[0], "default", row[1], row[2], row[3]) for row in leases
        }
        assert db.read("SELECT * FROM generations") == []
        assert db.read("PRAGMA integrity_check")[0][0] == "ok"


@pytest.mark.parametrize("version", range(2, VERSION + 1))
def test_what_an_old_version_knew_besides_survives(path: Path, version: int) -> None:
    one, two = str(Digest.of(b"one")), str(Digest.of(b"two"))
    me = Process.current()
    old(
        path,
        {
            "images": [
                ("team", "a", one, "type", 7, '{"k": "v"}', 1.0, 2.0, 3.0),
                ("b", "a", two, "t", 1, "{}", 1.0, 2.0, None),
            ],
            "generations": [("team", "a", two, "type", 8, 2.0)],
            "containers": [("team", "box", "a", one, "erofs", "team/box", "/b", 4.0)],
            "leases": [
                ("work", "pull a", 5.0, 6.0, me.boot_id, 0.0, "team", me.pid, me.started, *[None] * (version > 2))
            ],
            "lease_resources": [("work", "content", one)],
        },
        version,
    )

    with closing(Database(path)) as db:
        assert Images(db, "team").list() == (
            ImageRecord("team", "a", Descriptor("type", Digest.parse(one), 7), 1.0, 2.0, 3.0, {"k": "v"}),
        )
        assert Images(db, "b").get("a").used_at is None
        assert [tuple(row) for row in db.read("SELECT * FROM generations")] == [("team", "a", two, "type", 8, 2.0)]
        assert [record.snapshot_key for record in Containers(db, "team").list()] == ["team/box"]
        leases = Leases(db)
        assert leases.list() == (Lease("work", "team", "pull a", 5.0, 6.0, me.pid),), "its process lives"
        assert leases.resources("work")["content"] == (one,)


def test_rules_and_what_leases_hold_survive_the_migration(path: Path) -> None:
    chain = str(Digest.of(b"chain"))
    snapshot = ("erofs", chain, "committed", None, 1, None, 1.0)
    active = ("erofs", "box", "active", chain, 2, None, 1.0)
    resource = ("lease", "snapshot", chain)
    lease = ("lease", "pull a", 1.0, 9e18, "boot", 1.0)
    old(path, {"snapshots": [snapshot, active], "leases": [lease], "lease_resources": [resource]})

    with closing(Database(path)) as db:
        assert [tuple(row) for row in db.read("SELECT * FROM snapshots ORDER BY id")] == [snapshot, active]
        leases = Leases(db, process=_ELSEWHERE)
        assert [leases.resources(found.id)["snapshot"] for found in leases.list()] == [(chain,)]
        with db.transaction() as cursor:
            cursor.execute("DELETE FROM snapshots WHERE key = 'box'")
        with pytest.raises(PreconditionError, match="a lease holds this snapshot"), db.transaction() as cursor:
            cursor.execute("DELETE FROM snapshots")
        with db.transaction() as cursor:
            cursor.execute("DELETE FROM leases")
        assert db.read("SELECT * FROM lease_resources") == []


def test_a_step_that_was_released_is_never_changed() -> None:
    released = [
        "c6baf8370313ca53f8bac5149d7b968322f285a3c382da3bb97e9331d52c6fc8",
        "a77b71b70349b7eb229b1573b854737017bd30c6576cce0c60852c9c2a5d2951",
        "0b86664f24308d58642a71a01e645286dd2b5e51a1903281a0e325f7a7e4c51d",
        "2395b8fe023c3fb68fb4342c086c9643969e9e9fa3041b1121d448b765600c15",
    ]

    assert [hashlib.sha256("".join(step).encode()).hexdigest() for step in STEPS[: len(released)]] == released


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_migrated_database_is_shaped_like_a_new_one(path: Path, version: int) -> None:
    new = path.with_name("new.db")
    old(path, {}, version)

    Database(path).close()
    Database(new).close()

    assert shape(path) == shape(new)


def test_a_migration_is_whole_or_never_happened(path: Path) -> None:
    target = str(Digest.of(b"m"))
    old(path, {"images": [("a", target, "type", 1, 1.0, 2.0)]})
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE generations (taken TEXT)")  # so that a later statement of the step fails
    before = shape(path)

    with pytest.raises(StorageError, match="generations"):
        Database(path)

    assert shape(path) == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM images").fetchall() == [("a", target, "type", 1, 1.0, 2.0)]
        db.execute("DROP TABLE generations")
    with closing(Database(path)) as db:
        assert [image.name for image in Images(db).every()] == ["a"]


def test_an_old_database_is_not_filled_like_a_new_one(path: Path) -> None:
    old(path, {})

    def fill(_: Cursor) -> None:
        raise AssertionError

    Database(path, on_create=fill).close()


OPEN = """
import sys
from pathlib import Path
from prestow.metadata.database import Database
from prestow.metadata.images import Images
sys.stdin.readline()
print(Images(Database(Path(sys.argv[1]), timeout=60)).get("a").target.size)
"""


def test_processes_that_open_an_old_database_together_migrate_it_once(path: Path) -> None:
    old(path, {"images": [("a", str(Digest.of(b"m")), "type", 7, 1.0, 2.0)]})
    command = [sys.executable, "-c", OPEN, str(path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0] for process in processes]

    assert answers == ["7\n"] * 4
    with closing(Database(path)) as db:
        assert len(Images(db).every()) == 1
