"""Containers: what a bundle was made from, so that its image and its snapshot stay as long as it does.

    <home>/containers/<sha256 of namespace and id>.json    each of them: what is known should the database be lost
    <home>/containers.json                                 all of them, as older versions wrote it

The files are derived, as ``index.json`` is from the names, and change before the database does: one with each change of
a container, so that it costs the same however many there are. A ``containers.json`` counts alone while it is there; the
first change, or prune, makes the files of it.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prestow.content.disk import make_folder, read_file, sync_folder, translated, write_new
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
            is_new = cursor.rowcount > 0
            found = self.get(record.id)
            path = container_file(self._db.path.parent, found)
            if is_new or not os.path.lexists(path):
                _publish(self._db, found, path)
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


@dataclass(frozen=True, slots=True)
class Told:
    """What the disk tells of containers.

    Attributes:
        records: those that it tells of, sorted by namespace and id.
        nonsense: what lies among them and makes no sense.
    """

    records: tuple[ContainerRecord, ...] = ()
    nonsense: tuple[Path, ...] = ()


def publish_containers(db: Database) -> None:
    """Bring all files up to the database, within a transaction; on a full disk that waits for a prune.

    Raises:
        StorageError: the disk failed, or the database is damaged: then the files stay, since they may know more.
    """
    db.check_table("containers")
    home, old = db.path.parent, _old_file(db.path.parent)
    wanted = {container_file(home, record): record for record in Containers(db).every()}
    told = {container_file(home, record): record for record in _of_folder(home).records}
    with suppress(ExhaustedError), db.transaction(), translated(f"writing {_folder(home)}"):
        for path, record in wanted.items():
            if told.get(path) != record:
                _write(path, record)
        for path in told.keys() - wanted.keys():
            path.unlink()
        if wanted != told or (_folder(home).is_dir() and not is_published(db)):
            _note(db)
        if os.path.lexists(old):
            old.unlink()
            sync_folder(home)


def is_published(db: Database) -> bool:
    """Whether the files are those that were last written with this database: neither is older than the other.

    Raises:
        StorageError: the database failed.
    """
    home = db.path.parent
    rows = db.read("SELECT identity FROM published WHERE file = ?", (_folder(home).name,))
    return not os.path.lexists(_old_file(home)) and (rows[0]["identity"] if rows else "") == _identity(home)


def says(home: Path, records: Sequence[ContainerRecord]) -> bool:
    """Whether the disk tells of these containers, in this order, and of nothing else."""
    try:
        return told_containers(home) == Told(tuple(records))
    except StorageError:
        return False


def told_containers(home: Path) -> Told:
    """Give the containers that the disk tells of.

    Raises:
        StorageError: the disk does not give it.
    """
    old = _old_file(home)
    if os.path.lexists(old):
        found = _read(old)
        return Told((), (old,)) if found is None else Told(found)
    return _of_folder(home)


def container_file(home: Path, record: ContainerRecord) -> Path:
    """Give the place of a container's file: by a digest, as rows that a flipped bit spoiled may name any path."""
    return _folder(home) / f"{Digest.of(json.dumps([record.namespace, record.id]).encode()).encoded}.json"


def _of_folder(home: Path) -> Told:
    """Give what the files tell, whatever an older version's file does."""
    records: list[ContainerRecord] = []
    nonsense: list[Path] = []
    for path in _listed(home):
        found = _read(path)
        if found is not None and len(found) == 1 and path == container_file(home, found[0]):
            records += found
        else:
            nonsense.append(path)
    return Told(tuple(sorted(records, key=lambda record: (record.namespace, record.id))), tuple(nonsense))


def _publish(db: Database, record: ContainerRecord | None, path: Path) -> None:
    """Write or remove the file of one container, within the transaction that changes it."""
    home = db.path.parent
    if os.path.lexists(_old_file(home)):
        publish_containers(db)
        return
    with suppress(ExhaustedError), translated(f"writing {path}"):
        if record is not None:
            _write(path, record)
        elif os.path.lexists(path):
            path.unlink()
        else:
            return
        _note(db)


def _write(path: Path, record: ContainerRecord) -> None:
    """Write the file of a container; its folder is still to be synced.

    It is written a folder higher, where each command looks for what dead processes left: here it would look at all.
    """
    make_folder(path.parent)
    temporary = write_new(path.parent.with_name("container"), json.dumps([asdict(record)], indent=2).encode())
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _note(db: Database) -> None:
    """Have the disk keep what changed in the folder, and note its time, which no two changes share."""
    home = db.path.parent
    now = time.time_ns()
    os.utime(_folder(home), ns=(now, now))  # the kernel's own clock ticks 250 times a second
    sync_folder(_folder(home))
    with db.transaction() as cursor:
        cursor.execute("INSERT OR REPLACE INTO published VALUES (?, ?)", (_folder(home).name, _identity(home)))


def _identity(home: Path) -> str:
    """Tell which folder is there, and of when, as the kernel does; empty if there is none."""
    with suppress(FileNotFoundError):
        found = _folder(home).lstat()
        return f"{found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}"
    return ""


def _listed(home: Path) -> Iterable[Path]:
    """List what lies in the folder; the folder itself where it is none."""
    folder = _folder(home)
    with translated(f"listing {folder}"):
        if folder.is_dir() and not folder.is_symlink():
            return sorted(folder.iterdir())
        return [folder] if os.path.lexists(folder) else []


def _read(path: Path) -> tuple[ContainerRecord, ...] | None:
    """Give the containers that a file tells of; None if it makes no sense."""
    try:
        with translated(f"reading {path}"):
            raw = read_file(path) if path.is_file() else b""
        return tuple(map(_of_fields, json.loads(raw)))
    except StorageError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, PrestowError):
        return None


def _folder(home: Path) -> Path:
    return home / "containers"


def _old_file(home: Path) -> Path:
    return home / "containers.json"


def _record(row: Row) -> ContainerRecord:
    return _of_fields(dict(zip(row.keys(), tuple(row), strict=True)))


def _of_fields(fields: Mapping[str, Any]) -> ContainerRecord:
    return ContainerRecord(**{**fields, "manifest_digest": Digest.parse(fields["manifest_digest"])})
