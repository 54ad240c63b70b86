"""Step ``verify``: from a complete ingest to a blob that is what its digest says."""

from prestow.content import verify as engine
from prestow.content.plan import holds_blob, replacement
from prestow.content.verify import Verified
from prestow.oci.image import AnyBlob
from prestow.registry.blob import Fetched
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(
    lambda layer: f"verify {layer.descriptor.digest.short} (layer {layer.position + 1}/{layer.total})",
    version=1,
    key=lambda layer: layer.descriptor.digest,
    hit=lambda home, layer: holds_blob(open_node(home).content, layer, keep_blobs=open_node(home).settings.keep_blobs),
)
def verify(home: str, name: str, layer: AnyBlob, fetched: Fetched) -> Verified:  # noqa: ARG001 - fetched orders the graph
    """Check size and digest, and commit the layer to the content store."""
    node = open_node(home)
    with recorded_step("verify", layer.descriptor.digest):
        unless = replacement(layer, keep_blobs=node.settings.keep_blobs)
        verified = engine.verify(node.content, layer.descriptor, unless=unless)
    reached("layer-stored", node, name, layer.descriptor.digest)
    return verified
