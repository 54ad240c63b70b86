"""Containers that are being made or ended: each by one process at a time, and finished off where that one died.

    bundles/
      .underway/<container ID>    locked by whoever makes or ends the container; gone when that is done
      <container ID>/             its bundle; complete when ``config.json`` is there, and broken up from that on

So a note that no process holds tells of a process that died on its way. What has a complete bundle is a container,
however far its maker or remover came. Of anything else, all that the store has is taken away, so that the same command
begins again. A bundle outside the store is touched only if its container has a row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prestow.content.disk import make_folder, sync_folder, translated
from prestow.content.lock import FileLock
from prestow.errors import NotFoundError, UnavailableError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.runtime.bundle import CONFIG, ROOTFS, break_bundle, check_container_id, remove_bundle
from prestow.snapshots.mounts.mount import unmount
from prestow.snapshots.remove import remove_tree
from prestow.snapshots.snapshotter import Snapshotter

COPY = "copy"
"""In place of a driver: the root is a full copy."""

_NOTES = ".underway"
_TIMEOUT = 120.0


@contextmanager
def exclusive(bundles: Path, container_id: str, directory: Path) -> Iterator[None]:
    """Make or end a container in the block, as the only one of all processes.

    Args:
        bundles: folder of the store's own bundles.
        container_id: the container.
        directory: where its bundle is, or will be.

    Raises:
        UnavailableError: another process has been at it for two minutes.
    """
    lock = _note(bundles, container_id, timeout=_TIMEOUT)
    with lock:
        with translated(f"noting container {container_id}"):
            sync_folder(bundles / _NOTES)
        try:
            yield
        except BaseException:
            if _is_complete(directory):
                lock.retire()
            raise
        lock.retire()


def _note(bundles: Path, container_id: str, *, timeout: float) -> FileLock:
    with translated(f"making {bundles / _NOTES}"):
        make_folder(bundles / _NOTES)
    path = bundles / _NOTES / check_container_id(container_id)
    return FileLock(path, timeout=timeout, what=f"container {container_id}")


def _is_complete(directory: Path) -> bool:
    return (directory / CONFIG).exists()


def notes(bundles: Path) -> list[str]:
    """Return the IDs of the containers that are, or were, underway."""
    with translated(f"listing {bundles / _NOTES}"), suppress(FileNotFoundError):
        return sorted(path.name for path in (bundles / _NOTES).iterdir())
    return []


def finish(bundles: Path, container_id: str, containers: Containers, snapshotters: Sequence[Snapshotter]) -> None:
    """Take away what a process left that died while it made or ended a container; nothing if that one lives.

    Raises:
        PreconditionError: something foreign is in its bundle, or a process uses it.
        StorageError: the disk failed.
    """
    with suppress(UnavailableError), _note(bundles, container_id, timeout=0) as lock:
        own = bundles / container_id
        try:
            record = containers.get(container_id)
        except NotFoundError:
            if not (_is_complete(own) or any(other.bundle == str(own) for other in containers.every())):
                remove_bundle(own)
        else:
            if not _is_complete(Path(record.bundle)):
                discard(record, containers, snapshotters)
        lock.retire()


def discard(record: ContainerRecord, containers: Containers, snapshotters: Sequence[Snapshotter]) -> None:
    """Remove what there is of a container, its row last: what is cut off is found and finished the next time.

    Raises:
        PreconditionError: a process uses it; it is as it was.
        StorageError: the disk failed.
    """
    directory = Path(record.bundle)
    unmount(directory / ROOTFS)
    break_bundle(directory)
    if record.driver == COPY:
        remove_tree(directory / ROOTFS)
    else:
        drop_snapshot(record, snapshotters)
    remove_bundle(directory)
    with suppress(NotFoundError):
        containers.remove(record.id)


def drop_snapshot(record: ContainerRecord, snapshotters: Sequence[Snapshotter]) -> None:
    """Remove a container's snapshot; success if it has none.

    Raises:
        PreconditionError: it is mounted.
        StorageError: the disk failed.
    """
    driver = next(snapshotter for snapshotter in snapshotters if snapshotter.driver == record.driver)
    with suppress(NotFoundError):
        driver.remove(record.snapshot_key)
