"""Step ``fetch_manifest``: the documents of an image, for one platform."""

from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.lookup import holds_documents
from prestow.platforms import platform_or_host
from prestow.registry import fetch as engine
from tasks.checkpoint import reached
from tasks.journal import note_answers, recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda target: f"fetch manifest {target.digest.short}",
    version=3,
    key=lambda target, platform: f"{target.digest} {platform_or_host(platform)}",
    hit=lambda home, target, platform: holds_documents(open_node(home).content, target, platform_or_host(platform)),
)
def fetch_manifest(
    home: str, name: str, reference: str, target: Descriptor, platform: str | None, credentials: str | None = None
) -> Image:
    """Fetch and store index, manifest and config, and tell the image's layers."""
    node, wanted = open_node(home), platform_or_host(platform)
    source, most = node.source(reference, credentials), node.settings.max_layers
    with recorded_step("fetch_manifest", target.digest):
        image = engine.fetch_manifest(source, node.content, target, wanted, max_layers=most)
    note_answers(source)
    reached("manifest-stored", node, name, image.manifest.digest)
    return image
