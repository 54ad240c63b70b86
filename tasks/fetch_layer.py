"""Step ``fetch_layer``: one layer's bytes, as a complete ingest."""

from prestow.content.plan import holds_download
from prestow.oci.image import AnyBlob, Layer
from prestow.registry import fetch as engine
from prestow.registry.blob import Fetched, fetch_blob
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda layer: f"fetch {layer.descriptor.digest.short} (layer {layer.position + 1}/{layer.total})",
    version=1,
    key=lambda layer: layer.descriptor.digest,
    hit=lambda home, layer: holds_download(
        open_node(home).content, layer, keep_blobs=open_node(home).settings.keep_blobs
    ),
)
def fetch_layer(home: str, name: str, reference: str, layer: AnyBlob, credentials: str | None = None) -> Fetched:
    """Fetch what is missing of a blob, resuming what an earlier attempt left; decompress a layer meanwhile."""
    node, blob = open_node(home), layer.descriptor
    with recorded_step("fetch_layer", blob.digest, blob.size) as advance:
        source, keep_blob = node.source(reference, credentials), node.settings.keep_blobs
        if isinstance(layer, Layer):
            fetched = engine.fetch_layer(
                source, node.content, layer, scans=node.scans, keep_blob=keep_blob, progress=advance
            )
        else:
            fetched = fetch_blob(source, node.content, blob, progress=advance)
    reached("layer-fetched", node, name, blob.digest)
    return fetched
