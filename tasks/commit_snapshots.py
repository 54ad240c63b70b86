"""Step ``commit_snapshots``: the applied layers become snapshots under their chain IDs."""

from prestow.fsck.retry import retry_with_sound_blobs
from prestow.layers.apply import Applied
from prestow.oci.image import Image
from prestow.snapshots import commit as engine
from prestow.snapshots.commit import Committed
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda image, driver: f"commit snapshots {image.chain_id.short} ({driver})",
    version=1,
    key=lambda image, driver: f"{image.chain_id} {driver}",
    hit=lambda home, image, driver: open_node(home).snapshotter(driver).committed(image.chain_id),
)
def commit_snapshots(  # noqa: PLR0913 - Prefect shows each of them
    home: str,
    name: str,
    reference: str | None,
    image: Image,
    applied: tuple[Applied, ...],  # noqa: ARG001 - orders the graph
    driver: str,
    credentials: str | None = None,
) -> Committed:
    """Merge the layers and commit every chain ID on its parent; blobs that rotted come from ``reference``."""
    node = open_node(home)
    with recorded_step("commit_snapshots", image.chain_id):
        committed = retry_with_sound_blobs(
            node,
            image.layers,
            reference,
            lambda: engine.commit_snapshots(node.snapshotter(driver), image),
            credentials,
        )
    reached("unpacked", node, name, image.chain_id)
    return committed
