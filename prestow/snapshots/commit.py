"""Step ``commit_snapshots``: layers become committed snapshots under their chain IDs (image-spec, config.md)."""

from dataclasses import dataclass

from prestow.digest import Digest
from prestow.oci.image import Image
from prestow.snapshots.snapshotter import Snapshotter


@dataclass(frozen=True, slots=True)
class Committed:
    """An unpacked image.

    Attributes:
        chain_id: name of the snapshot of all its layers.
        driver: the snapshotter that has it.
    """

    chain_id: Digest
    driver: str


def commit_snapshots(snapshotter: Snapshotter, image: Image) -> Committed:
    """Commit each chain ID of an image on its parent; success if they are committed.

    Args:
        snapshotter: where to.
        image: its layers have been applied.

    Raises:
        PreconditionError: a layer has not been applied.
        InvalidError: the layers do not make a tree.
    """
    snapshotter.commit_layers(image)
    return Committed(image.chain_id, snapshotter.driver)
