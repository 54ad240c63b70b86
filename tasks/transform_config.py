"""Step ``transform_config``: from an image's config, overrides and root file system to a runtime spec."""

from prestow.oci.image import Image
from prestow.oci.lookup import read_config
from prestow.platforms import host
from prestow.runtime import transform as engine
from prestow.runtime.overrides import Overrides
from prestow.runtime.spec import Spec
from prestow.snapshots.commit import Committed
from prestow.snapshots.root_view import looked_at
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(lambda image: f"transform config {image.config.digest.short}", version=1)
def transform_config(home: str, name: str, image: Image, overrides: Overrides, committed: Committed) -> Spec:
    """Look users and folders up in the unpacked image, never on the host, and write the spec."""
    node = open_node(home)
    snapshotter, config = node.snapshotter(committed.driver), read_config(node.content, image.config)
    with (
        recorded_step("transform_config", image.config.digest),
        looked_at(snapshotter, committed.chain_id, node.home / "looks") as rootfs,
    ):
        spec = engine.transform_config(config, overrides, rootfs, host=host())
    reached("config-transformed", node, name, image.config.digest)
    return spec
