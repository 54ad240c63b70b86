"""Containers whose runner died.

    bundles/.running/<container ID>    of a container to be removed after its run; locked by its runner

So a note that no process holds tells of a killed runner: the container is ended and removed by the next command that
changes something. One that was to stay is only told of (:func:`unattended`): it may still be needed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prestow.content.disk import make_folder, sync_folder, translated
from prestow.content.lock import FileLock
from prestow.errors import NotFoundError, UnavailableError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.runtime.binary import Runtime
from prestow.runtime.bundle import check_container_id
from prestow.runtime.state import delete_container, stop_container
from prestow.snapshots.snapshotter import Snapshotter
from prestow.store.in_progress import discard

_NOTES = ".running"


@contextmanager
def removed_afterwards(bundles: Path, container_id: str, remove: Callable[[], object]) -> Iterator[None]:
    """Remove a container after the block, however that ends; if this process is killed, the next command does.

    Raises:
        UnavailableError: another process runs a container of this ID.
    """
    notes = bundles / _NOTES
    with translated(f"making {notes}"):
        make_folder(notes)
    with FileLock(notes / check_container_id(container_id), timeout=0, what=f"container {container_id}") as note:
        with translated(f"noting container {container_id}"):
            sync_folder(notes)
        try:
            yield
        finally:
            remove()
            note.retire()


def to_remove(bundles: Path) -> list[str]:
    """Return the IDs of the containers that are, or were, to be removed after their run."""
    with translated(f"listing {bundles / _NOTES}"), suppress(FileNotFoundError):
        return sorted(path.name for path in (bundles / _NOTES).iterdir())
    return []


def end(
    bundles: Path,
    container_id: str,
    containers: Containers,
    snapshotters: Sequence[Snapshotter],
    runtime: Callable[[], Runtime],
) -> ContainerRecord | None:
    """End and remove a container whose runner was killed; None where the runner lives, or nothing is left.

    Raises:
        NotFoundError: there is no runtime to end it with.
        RuntimeFailedError: it does not end.
        PreconditionError, StorageError: it cannot be removed now.
    """
    with (
        suppress(UnavailableError),
        FileLock(bundles / _NOTES / container_id, timeout=0, what=f"container {container_id}") as note,
    ):
        state_root = bundles.parent / "runtime"
        if (state_root / container_id).exists():
            stop_container(runtime(), container_id, state_root=state_root, grace_seconds=0)
            delete_container(runtime(), container_id, state_root=state_root)
        record = None
        with suppress(NotFoundError):
            record = containers.get(container_id)
            discard(record, containers, snapshotters)
        note.retire()
        return record
    return None
