"""The files of containers: what is known of them should the database be lost.

    <home>/containers/<sha256 of namespace and id>.json    one container
    <home>/containers.json                                 all of them, as older versions wrote it

They are derived, as ``index.json`` is from the names. One changes with each change of a container, so that it costs the
same however many there are. A ``containers.json`` counts alone while it is there; see ``publish_containers``.
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
class Told:
    """What the disk tells of containers.

    Attributes:
        records: those that it tells of, sorted by namespace and id.
        nonsense: what lies among them and makes no sense.
    """

    records: tuple[ContainerRecord, ...] = ()
    nonsense: tuple[Path, ...] = ()


def containers_folder(home: Path) -> Path:
    """Give the folder of the files."""
    return home / "containers"


def old_containers_file(home: Path) -> Path:
    """Give the file that older versions wrote."""
    return home / "containers.json"


def container_file(home: Path, record: ContainerRecord) -> Path:
    """Give the place of a container's file: by a digest, as rows that a flipped bit spoiled may name any path."""
    return containers_folder(home) / f"{Digest.of(json.dumps([record.namespace, record.id]).encode()).encoded}.json"


def told_containers(home: Path) -> Told:
    """Give the containers that the disk tells of.

    Raises:
        StorageError: the disk does not give it.
    """
    old = old_containers_file(home)
    if os.path.lexists(old):
        found = _read(old)
        return Told((), (old,)) if found is None else Told(found)
    return told_by_files(home)


def told_by_files(home: Path) -> Told:
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


def says(home: Path, records: Sequence[ContainerRecord]) -> bool:
    """Whether the disk tells of these containers, in this order, and of nothing else."""
    try:
        return told_containers(home) == Told(tuple(records))
    except StorageError:
        return False


def folder_identity(home: Path) -> str:
    """Tell which folder is there, and of when, as the kernel does; empty if there is none."""
    with suppress(FileNotFoundError):
        found = containers_folder(home).lstat()
        return f"{found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}"
    return ""


def write_container(path: Path, record: ContainerRecord) -> None:
    """Write the file of a container; call :func:`settle` afterwards.

    It is written a folder higher, where each command looks for what dead processes left: here it would look at all.
    """
    make_folder(path.parent)
    temporary = write_new(path.parent.with_name("container"), json.dumps([asdict(record)], indent=2).encode())
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def settle(home: Path) -> None:
    """Have the disk keep what changed, and give the folder a time that no two changes share; success without one."""
    if containers_folder(home).is_dir():
        now = time.time_ns()
        os.utime(containers_folder(home), ns=(now, now))  # the kernel's own clock ticks 250 times a second
        sync_folder(containers_folder(home))


def _listed(home: Path) -> Iterable[Path]:
    """List what lies in the folder; the folder itself where it is none."""
    place = containers_folder(home)
    with translated(f"listing {place}"):
        if place.is_dir() and not place.is_symlink():
            return sorted(place.iterdir())
        return [place] if os.path.lexists(place) else []


def _read(path: Path) -> tuple[ContainerRecord, ...] | None:
    """Give the containers that a file tells of; None if it makes no sense."""
    try:
        with translated(f"reading {path}"):
            raw = read_file(path) if path.is_file() else b""
        return tuple(map(of_fields, json.loads(raw)))
    except StorageError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError, PrestowError):
        return None


def of_fields(fields: Mapping[str, Any]) -> ContainerRecord:
    """Give a container as its fields tell it."""
    return ContainerRecord(**{**fields, "manifest_digest": Digest.parse(fields["manifest_digest"])})
