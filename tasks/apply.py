"""Step ``apply``: from a layer's blob to its decompressed blob, whose digest is the diff ID."""

from prestow.content.verify import Verified
from prestow.fsck.retry import retry_with_sound_blobs
from prestow.layers import apply as engine
from prestow.layers.apply import Applied
from prestow.oci.image import Layer
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda layer: f"apply {layer.diff_id.short} (layer {layer.position + 1}/{layer.total})",
    version=1,
    key=lambda layer: layer.diff_id,
    hit=lambda home, layer: open_node(home).content.has(layer.diff_id),
)
def apply(
    home: str,
    name: str,
    reference: str | None,
    layer: Layer,
    verified: Verified | None,  # noqa: ARG001 - as in verify
    credentials: str | None = None,
) -> Applied:
    """Decompress, hash and scan the layer; nothing of it is extracted. A blob that rotted comes from ``reference``."""
    node = open_node(home)
    with recorded_step("apply", layer.diff_id, layer.descriptor.size) as advance:
        keep_blob = node.settings.keep_blobs
        applied = retry_with_sound_blobs(
            node,
            [layer],
            reference,
            lambda: engine.apply(node.content, layer, scans=node.scans, keep_blob=keep_blob, progress=advance),
            credentials,
        )
    reached("layer-applied", node, name, layer.diff_id)
    return applied
