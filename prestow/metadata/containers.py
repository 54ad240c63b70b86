"""Containers: what a bundle was made from, so that its image and its snapshot stay as long as it does.

Each has a file, too (``container_files``), which changes within the transaction, before that is committed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prestow.content.disk import sync_folder, translated
from prestow.errors import AlreadyExistsError, ExhaustedError, NotFoundError, printable
from prestow.metadata.container_files import (
    ContainerRecord,
    container_file,
    containers_folder,
    folder_identity,
    of_fields,
    old_containers_file,
    read_container_files,
    sync_container_files,
    write_container,
)
from prestow.metadata.database import Database, Row
from prestow.metadata.namespace import DEFAULT


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
        """Return all containers, sorted by id."""
        return tuple(
            self._db.records(_record, "SELECT * FROM containers WHERE namespace = ? ORDER BY id", (self._namespace,))
        )

    def made_of(self, image: str) -> tuple[ContainerRecord, ...]:
        """Return the containers that were made of a name, sorted by id."""
        sql = "SELECT * FROM containers WHERE namespace = ? AND image = ? ORDER BY id"
        return tuple(self._db.records(_record, sql, (self._namespace, image)))

    def every(self) -> tuple[ContainerRecord, ...]:
        """Return the containers of all namespaces, sorted: whose snapshots and images must stay."""
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
            is_new = cursor.rowcount > 0
            found = self.get(record.id)
            if is_new or not is_published(self._db):
                _publish(self._db, found, container_file(self._db.path.parent, found))
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
            _publish(self._db, None, container_file(self._db.path.parent, record))
            return record


def publish_containers(db: Database) -> None:
    """Bring all files up to the database, within a transaction; on a full disk that waits for a prune.

    Raises:
        StorageError: the disk failed, or the database is damaged: then the files stay, since they may know more.
    """
    db.check_table("containers")
    home, old = db.path.parent, old_containers_file(db.path.parent)
    wanted = {container_file(home, record): record for record in Containers(db).every()}
    told = {container_file(home, record): record for record in read_container_files(home).records}
    if wanted == told and is_published(db):
        return
    with _changing(db):
        for path, record in wanted.items():
            if told.get(path) != record:
                write_container(path, record)
        for path in told.keys() - wanted.keys():
            path.unlink()
        if os.path.lexists(old):
            sync_container_files(home)
            old.unlink()
            sync_folder(home)


def is_published(db: Database) -> bool:
    """Whether the files are those that were last written with this database: neither is older than the other.

    Raises:
        StorageError: the database failed.
    """
    home = db.path.parent
    rows = db.read("SELECT identity FROM published WHERE file = ?", (containers_folder(home).name,))
    noted = rows[0]["identity"] if rows else ""
    return noted == folder_identity(home) and not os.path.lexists(old_containers_file(home))


def _publish(db: Database, record: ContainerRecord | None, path: Path) -> None:
    """Write or remove the file of one container, within the transaction that changes it; all, if others are behind."""
    if not is_published(db):
        publish_containers(db)
        return
    with _changing(db):
        if record is not None:
            write_container(path, record)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _changing(db: Database) -> Iterator[None]:
    """Change files within a transaction, and note how the folder is then; a full disk leaves them behind."""
    home = db.path.parent
    try:
        with translated(f"writing {containers_folder(home)}"):
            yield
            sync_container_files(home)
        identity = folder_identity(home)
    except ExhaustedError:
        identity = "behind"
    with db.transaction() as cursor:
        cursor.execute("INSERT OR REPLACE INTO published VALUES (?, ?)", (containers_folder(home).name, identity))


def _record(row: Row) -> ContainerRecord:
    return of_fields(dict(zip(row.keys(), tuple(row), strict=True)))
