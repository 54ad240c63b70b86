"""A database that was lost is filled again from what is on disk.

    index.json        names, with namespaces and labels, whose targets are here
    image configs     the layers of chain IDs, and so the rows of metadata images: a file tells its chain ID by its name
    row.json          the row of a folder of snapshots
    containers        containers that have a bundle or a snapshot

What is not told there is lost with the database: what names stood for before, leases, when things were made. A folder
of snapshots that says nothing of itself may hold what a container wrote: it goes to quarantine, for without a row it
would be taken for rubbish. Nothing else is moved, and nothing removed.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prestow.content.disk import translated
from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, StorageError
from prestow.metadata.container_files import ContainerRecord, read_containers
from prestow.metadata.containers import Containers, is_published
from prestow.metadata.database import Cursor, Database
from prestow.metadata.tag import recover_names
from prestow.oci.document import MAX_DOCUMENT
from prestow.oci.identity import chain_ids
from prestow.oci.image_config import ImageConfig
from prestow.runtime.bundle import CONFIG
from prestow.snapshots.catalog import every_snapshot
from prestow.snapshots.drivers.all import kinds
from prestow.snapshots.row_file import RowFile, read_row
from prestow.snapshots.snapshotter import Info, Kind
from prestow.store.in_progress import COPY

_IMAGE = ".erofs"
_NUMBER = re.compile(r"-?[0-9]+")

_log = logging.getLogger(__name__)


def rebuild(home: Path, content: LocalStore, cursor: Cursor) -> None:
    """Fill a new database; in a new store there is nothing, and that is quick.

    Raises:
        StorageError: the disk failed.
    """
    _names(cursor, content)
    rows = [row for driver in kinds() for row in _snapshots(home / "snapshots" / driver, content)]
    cursor.executemany(
        "INSERT INTO snapshots (driver, key, kind, parent, id, diff_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(r.driver, r.key, r.kind.value, r.parent, r.id, r.diff_id, r.created_at) for r in rows],
    )
    containers = list(_containers(home, content, {(row.driver, row.key) for row in rows}))
    cursor.executemany(
        "INSERT OR IGNORE INTO containers"
        " (namespace, id, image, manifest_digest, driver, snapshot_key, bundle, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (c.namespace, c.id, c.image, c.manifest_digest, c.driver, c.snapshot_key, c.bundle, c.created_at)
            for c in containers
        ],
    )
    names = cursor.execute("SELECT count(*) FROM images").fetchone()[0]
    if names or rows or containers:
        _log.warning(
            "%s was lost; it is rebuilt from the files on disk (names: %d, snapshots: %d, containers: %d); "
            "check it with `prestow fsck --all`",
            home / "metadata.db", names, len(rows), len(containers),
        )  # fmt: skip


def _names(cursor: Cursor, content: LocalStore) -> None:
    """Read the names back; a file that tells none is not in the way of the rest."""
    try:
        recover_names(content)(cursor)
    except InvalidError as error:
        _log.warning("names cannot be read back: %s; pull the images again", error)
        _set_aside(content, content.root / "index.json", str(error))


def _set_aside(content: LocalStore, path: Path, why: str) -> None:
    """Move something to quarantine; where that is not possible, it stays."""
    try:
        content.quarantine_area.take(path, why)
    except PrestowError as error:
        _log.warning("%s stays where it is: %s", path, error)


def _snapshots(folder: Path, content: LocalStore) -> list[Info]:
    """Return the rows of a driver, parents before children."""
    with translated(f"listing {folder}"):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    images = [path.stem for path in entries if path.suffix == _IMAGE]
    numbers = sorted((path for path in entries if _NUMBER.fullmatch(path.name)), key=lambda path: int(path.name))
    rows: dict[str, Info] = {}
    if images:
        known = _chains(content)
        for layers in (known[encoded] for encoded in images if encoded in known):
            _add_layers(rows, folder.name, layers)
    for path in numbers:
        if not _add_folder(rows, path, folder.name):
            _set_aside(content, path, "a snapshot directory without its row.json, when the database was lost")
    return _numbered(rows)


def _chains(content: LocalStore) -> dict[str, tuple[Digest, ...]]:
    """Return the layers of every chain ID that an image config here tells of, by its digits."""
    found: dict[str, tuple[Digest, ...]] = {}
    for blob in content.walk():
        if blob.size <= MAX_DOCUMENT:
            with suppress(PrestowError):
                diff_ids = ImageConfig.parse(_read(content, blob.digest)).diff_ids
                found |= {chain.encoded: diff_ids[: at + 1] for at, chain in enumerate(chain_ids(diff_ids))}
    return found


def _read(content: LocalStore, digest: Digest) -> bytes:
    """Read a blob; one that the disk does not give is asked for once more, for what it tells is forgotten otherwise."""
    try:
        return content.read(digest)
    except StorageError as error:
        _log.warning("%s; trying again", error)
        return content.read(digest)


def _add_layers(rows: dict[str, Info], driver: str, layers: tuple[Digest, ...]) -> None:
    """Add the rows of a chain of layers that are not there yet; they get their numbers later."""
    parent: str | None = None
    for key, diff_id in zip(chain_ids(layers), layers, strict=True):
        rows.setdefault(key, Info(driver, key, Kind.COMMITTED, parent, 0, time.time(), diff_id))
        parent = key


def _add_folder(rows: dict[str, Info], path: Path, driver: str) -> bool:
    """Add the row of a folder, and those of the layers below it; False if it does not tell."""
    told = read_row(path, driver)
    if told is None:
        return False
    info = told.info
    if told.layers:
        _add_layers(rows, driver, told.layers)
    if info.diff_id is None:
        taken = info.key in rows or (info.parent is not None and info.parent not in rows)
    else:
        found = rows.get(info.key)
        taken = found is None or found.id != 0 or (found.parent, found.diff_id) != (info.parent, info.diff_id)
    if not taken:
        rows[info.key] = info
    return not taken


def _numbered(rows: Mapping[str, Info]) -> list[Info]:
    """Number the rows that have no folder, below all that have one, which may stand on them; parents first."""
    without = [key for key, info in rows.items() if info.id == 0]
    lowest = min([0, *(info.id for info in rows.values())])
    numbers = {key: lowest + at - len(without) for at, key in enumerate(without)}
    return [info._replace(id=numbers.get(key, info.id)) for key, info in rows.items()]


def _containers(home: Path, content: LocalStore, snapshots: set[tuple[str, str]]) -> Iterator[ContainerRecord]:
    """Yield the containers of which there is anything left."""
    told = read_containers(home)
    for path in told.corrupt:
        _log.warning("%s is corrupt: its container is lost; save what containers wrote before the next prune", path)
        _set_aside(content, path, "makes no sense")
    for record in told.records:
        with translated(f"looking at {record.bundle}"):
            here = Path(record.bundle).is_dir()
        if here or (record.driver, record.snapshot_key) in snapshots:
            yield record


def has_lost_its_log(home: Path, database: Database) -> bool:
    """Whether a database that is whole is older than the store: its log was removed, and what was in that.

    A container tells: it is listed and has its bundle, and its folder if it needs one, and the database knows neither
    it nor its snapshot. Whoever makes or ends one never leaves it so, wherever he dies.

    Raises:
        StorageError: the disk does not tell.
    """
    if is_published(database):
        return False
    known = {(record.namespace, record.id) for record in Containers(database).every()}
    listed = [record for record in read_containers(home).records if (record.namespace, record.id) not in known]
    with translated(f"looking at the bundles of {home}"):
        complete = [record for record in listed if (Path(record.bundle) / CONFIG).is_file()]
    if not complete:
        return False
    rows = {(info.driver, info.key) for info in every_snapshot(database)}
    folders = {(driver, found.info.key) for driver in kinds() for found in _row_files(home / "snapshots" / driver)}
    places = [(record.driver, record.snapshot_key) for record in complete]
    return any(place[0] == COPY or (place in folders and place not in rows) for place in places)


def _row_files(folder: Path) -> Iterator[RowFile]:
    with translated(f"listing {folder}"):
        paths = list(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        if _NUMBER.fullmatch(path.name) and (found := read_row(path, folder.name)) is not None:
            yield found
