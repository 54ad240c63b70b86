"""The files of containers, from which a lost database is rebuilt.

    <home>/containers/<sha256 of namespace and id>.json    one container
    <home>/containers.json                                 all of them, as older versions wrote it

They are derived from the database, as ``index.json`` is from the names. A change of a container changes its file alone,
so that the cost does not grow with their number. While ``containers.json`` exists it alone is read; see
``publish_containers``.
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
from prestow.errors import PrestowError, StorageError


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


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """What the files say.

    Attributes:
        records: the containers, sorted by namespace and id.
        corrupt: paths of files that are no record of a container, or of another one than their name says.
    """

    records: tuple[ContainerRecord, ...] = ()
    corrupt: tuple[Path, ...] = ()


def containers_folder(home: Path) -> Path:
    """Return the directory of the files."""
    return home / "containers"


def old_containers_file(home: Path) -> Path:
    """Return the path of the file that older versions wrote."""
    return home / "containers.json"


def container_file(home: Path, record: ContainerRecord) -> Path:
    """Return the path of a container's file. Its name is a digest, since a corrupt row may contain any path."""
    return containers_folder(home) / f"{Digest.of(json.dumps([record.namespace, record.id]).encode()).encoded}.json"


def read_containers(home: Path) -> ContainerFiles:
    """Read the containers, from the older version's file if there is one.

    Raises:
        StorageError: the disk failed.
    """
    old = old_containers_file(home)
    if os.path.lexists(old):
        found = _read(old)
        return ContainerFiles((), (old,)) if found is None else ContainerFiles(found)
    return read_container_files(home)


def read_container_files(home: Path) -> ContainerFiles:
    """Read the file of each container, even where an older version's file exists."""
    records: list[ContainerRecord] = []
    corrupt: list[Path] = []
    for path in _listed(home):
        found = _read(path)
        if found is not None and len(found) == 1 and path == container_file(home, found[0]):
            records += found
        else:
            corrupt.append(path)
    return ContainerFiles(tuple(sorted(records, key=lambda record: (record.namespace, record.id))), tuple(corrupt))


def containers_match(home: Path, records: Sequence[ContainerRecord]) -> bool:
    """Whether the files say exactly these containers, sorted; false if the disk failed."""
    try:
        return read_containers(home) == ContainerFiles(tuple(records))
    except StorageError:
        return False


def folder_identity(home: Path) -> str:
    """Return inode number and times of the directory, which change with each change of a file; empty without one."""
    with suppress(FileNotFoundError):
        found = containers_folder(home).lstat()
        return f"{found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}"
    return ""


def write_container(path: Path, record: ContainerRecord) -> None:
    """Write the file of a container; call :func:`sync_container_files` afterwards.

    The temporary file is in the parent directory, where each command cleans up after dead processes: looking for it
    among the files of all containers would cost more the more there are.
    """
    make_folder(path.parent)
    temporary = write_new(path.parent.with_name("container"), json.dumps([asdict(record)], indent=2).encode())
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_container_files(home: Path) -> None:
    """Sync the directory, and give it a modification time that no two changes share; do nothing without one."""
    if containers_folder(home).is_dir():
        now = time.time_ns()
        os.utime(containers_folder(home), ns=(now, now))  # the kernel's own clock ticks 250 times a second
        sync_folder(containers_folder(home))


def _listed(home: Path) -> Iterable[Path]:
    """List the directory; return the path itself if it is no directory."""
    place = containers_folder(home)
    with translated(f"listing {place}"):
        if place.is_dir() and not place.is_symlink():
            return sorted(place.iterdir())
        return [place] if os.path.lexists(place) else []


def _read(path: Path) -> tuple[ContainerRecord, ...] | None:
    """Return the containers in a file; ``None`` if it is corrupt."""
    try:
        with translated(f"reading {path}"):
            raw = read_file(path) if path.is_file() else b""
        return tuple(map(of_fields, json.loads(raw)))
    except StorageError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, PrestowError):
        return None


def of_fields(fields: Mapping[str, Any]) -> ContainerRecord:
    """Return the container with these fields."""
    return ContainerRecord(**{**fields, "manifest_digest": Digest.parse(fields["manifest_digest"])})
