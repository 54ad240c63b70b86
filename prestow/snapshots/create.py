"""Step ``create_snapshot``: a container's own active snapshot on its image's."""

from dataclasses import dataclass

from prestow.digest import Digest
from prestow.errors import AlreadyExistsError
from prestow.snapshots.snapshotter import Kind, Mount, Snapshotter


@dataclass(frozen=True, slots=True)
class Created:
    """A container's snapshot.

    Attributes:
        key: its key.
        driver: the snapshotter that has it.
        mounts: what to mount, in order, to see it.
    """

    key: str
    driver: str
    mounts: tuple[Mount, ...]


def create_snapshot(
    snapshotter: Snapshotter, container_id: str, chain_id: Digest, *, read_only: bool = False
) -> Created:
    """Make the snapshot of a container; success if it exists on the same image in the same way.

    Args:
        snapshotter: where to.
        container_id: the snapshot's key.
        chain_id: the unpacked image.
        read_only: whether a view will do.

    Raises:
        AlreadyExistsError: the key is in use for something else.
        NotFoundError: the image is not unpacked.
    """
    kind = Kind.VIEW if read_only else Kind.ACTIVE
    try:
        mounts = (snapshotter.view if read_only else snapshotter.prepare)(container_id, chain_id)
    except AlreadyExistsError:
        info = snapshotter.stat(container_id)
        if (info.kind, info.parent) != (kind, chain_id):
            raise AlreadyExistsError(
                f"snapshot {container_id} exists already: {info.kind.value}, on {info.parent}; "
                f"expected {kind.value}, on {chain_id}; choose another container id, or remove that container"
            ) from None
        mounts = snapshotter.mounts(container_id)
    return Created(container_id, snapshotter.driver, mounts)
