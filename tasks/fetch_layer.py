"""Step ``fetch_layer``: one layer's bytes, as a complete ingest."""

from prestow.layers.ahead import ahead
from prestow.layers.apply import settle
from prestow.oci.image import Layer
from prestow.registry import fetch as engine
from prestow.registry.fetch import Fetched
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(
    lambda layer: f"fetch {layer.descriptor.digest.short} (layer {layer.index + 1}/{layer.count})",
    version=1,
    key=lambda layer: layer.descriptor.digest,
    hit=lambda home, layer: open_node(home).holds_download(layer),
)
def fetch_layer(home: str, name: str, reference: str, layer: Layer) -> Fetched:
    """Fetch what is missing of a layer, going on from what an earlier attempt left; decompress it meanwhile."""
    node, blob = open_node(home), layer.descriptor
    with (
        recorded_step("fetch_layer", blob.digest, blob.size) as advance,
        ahead(node.content, layer, scans=node.scans, progress=advance) as arrived,
    ):
        fetched = engine.fetch_layer(
            node.source(reference), node.content, blob, unless=node.replacement(layer), progress=arrived
        )
    if node.replacement(layer):
        settle(node.content, layer)
    reached("layer-fetched", node, name, blob.digest)
    return fetched
