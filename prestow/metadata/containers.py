"""Containers: what a bundle was made from, so that its image and its snapshot stay as long as it does.

    <home>/containers.json      all of them, beside the database: what is known should that be lost

The file is derived, as ``index.json`` is from the names, and replaced with every change.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prestow.content.disk import read_file, replace_file, translated
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, ExhaustedError, NotFoundError, PrestowError, StorageError, printable
from prestow.metadata.database import Database, Row
from prestow.namespace import DEFAULT


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container.

    Attributes:
        namespace: whose container it is.
        id: its name there.
        image: name of the image, as it was when the container was made.
        manifest_digest: the manifest itself, whatever the name stands for by now.
        driver: snapshotter that has its snapshot.
        snapshot_key: key of its active snapshot there.
        bundle: path of the bundle's folder.
        created_at: seconds since the epoch.
    """

    namespace: str
    id: str
    image: str
    manifest_digest: Digest
    driver: str
    snapshot_key: str
    bundle: str
    created_at: float


class Containers:
    """The containers of one namespace in a metadata database."""

    def __init__(self, db: Database, namespace: str = DEFAULT) -> None:
        """Look into ``db``."""
        self._db = db
        self._namespace = namespace

    def get(self, container_id: str) -> ContainerRecord:
        """Look a container up.

        Raises:
            NotFoundError: no such container.
        """
        rows = self._db.records(
            _record, "SELECT * FROM containers WHERE namespace = ? AND id = ?", (self._namespace, container_id)
        )
        if not rows:
            raise NotFoundError(f"container {printable(container_id)} does not exist")
        return rows[0]

    def list(self) -> tuple[ContainerRecord, ...]:
        """Give all containers, sorted by id."""
        return tuple(
            self._db.records(_record, "SELECT * FROM containers WHERE namespace = ? ORDER BY id", (self._namespace,))
        )

    def made_of(self, image: str) -> tuple[ContainerRecord, ...]:
        """Give the containers that were made of a name, sorted by id."""
        sql = "SELECT * FROM containers WHERE namespace = ? AND image = ? ORDER BY id"
        return tuple(self._db.records(_record, sql, (self._namespace, image)))

    def every(self) -> tuple[ContainerRecord, ...]:
        """Give the containers of all namespaces, sorted: whose snapshots and images must stay."""
        return tuple(self._db.records(_record, "SELECT * FROM containers ORDER BY namespace, id"))

    def put(self, record: ContainerRecord) -> ContainerRecord:
        """Note a container of this namespace; success if the very same is there, whenever that was made.

        Raises:
            AlreadyExistsError: another container has the id.
        """
        columns = (str(record.manifest_digest), record.driver, record.snapshot_key, record.bundle)
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO containers"
                " (namespace, id, image, manifest_digest, driver, snapshot_key, bundle, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (namespace, id) DO NOTHING",
                (self._namespace, record.id, record.image, *columns, record.created_at),
            )
            found = self.get(record.id)
            publish_containers(self._db)
        if (found.image, str(found.manifest_digest), found.driver, found.snapshot_key, found.bundle) != (
            record.image,
            *columns,
        ):
            raise AlreadyExistsError(f"container {printable(record.id)} exists, made from {printable(found.image)}")
        return found

    def remove(self, container_id: str) -> ContainerRecord:
        """Forget a container, and give what it was; its snapshot and bundle are the caller's to remove.

        Raises:
            NotFoundError: no such container.
        """
        with self._db.transaction() as cursor:
            record = self.get(container_id)
            cursor.execute("DELETE FROM containers WHERE namespace = ? AND id = ?", (self._namespace, container_id))
            publish_containers(self._db)
            return record


def publish_containers(db: Database) -> None:
    """Bring ``containers.json`` up to the database, within a transaction; on a full disk that waits for a prune.

    Raises:
        StorageError: the disk failed, or the database is damaged: then the file stays, since it may know more.
    """
    db.check_table("containers")
    records = Containers(db).every()
    path = containers_file(db.path.parent)
    with suppress(ExhaustedError), db.transaction() as cursor:
        if not says(db.path.parent, records):
            with translated(f"writing {path}"):
                replace_file(path, json.dumps([asdict(record) for record in records], indent=2).encode())
        if path.exists():
            cursor.execute("INSERT OR REPLACE INTO published VALUES (?, ?)", (path.name, _identity(path)))


def is_published(db: Database) -> bool:
    """Whether the file is the one that was last written with this database: neither is older than the other.

    Raises:
        StorageError: the database failed.
    """
    path = containers_file(db.path.parent)
    rows = db.read("SELECT identity FROM published WHERE file = ?", (path.name,))
    return (rows[0]["identity"] if rows else "") == _identity(path)


def _identity(path: Path) -> str:
    """Tell which file is there, as the kernel does; empty if there is none."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    return ""


def says(home: Path, records: Sequence[ContainerRecord]) -> bool:
    """Whether the file tells of these containers, in this order."""
    try:
        return read_containers(home) == tuple(records)
    except StorageError:
        return False


def read_containers(home: Path) -> tuple[ContainerRecord, ...] | None:
    """Give the containers that the file tells of, none if there is no file; None if it makes no sense.

    Raises:
        StorageError: the disk does not give it.
    """
    path = containers_file(home)
    try:
        with translated(f"reading {path}"):
            raw = read_file(path) if path.is_file() else b"[]" if not os.path.lexists(path) else b""
        return tuple(map(_of_fields, json.loads(raw)))
    except StorageError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, PrestowError):
        return None


def containers_file(home: Path) -> Path:
    """Give the place of the file."""
    return home / "containers.json"


def _record(row: Row) -> ContainerRecord:
    return _of_fields(dict(zip(row.keys(), tuple(row), strict=True)))


def _of_fields(fields: Mapping[str, Any]) -> ContainerRecord:
    return ContainerRecord(**{**fields, "manifest_digest": Digest.parse(fields["manifest_digest"])})
