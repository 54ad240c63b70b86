"""Step ``fetch_artifact``: the documents of an artifact, or of an image that is not to be unpacked."""

from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.lookup import holds_artifact
from prestow.platforms import platform_or_host
from prestow.registry import artifact as engine
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda target: f"fetch artifact {target.digest.short}",
    version=2,
    key=lambda target, platform: f"{target.digest} {platform_or_host(platform)}",
    hit=lambda home, target, platform: holds_artifact(open_node(home).content, target, platform_or_host(platform)),
)
def fetch_artifact(
    home: str, name: str, reference: str, target: Descriptor, platform: str | None, credentials: str | None = None
) -> Artifact:
    """Fetch and store index and manifests, and tell the blobs that they refer to."""
    node = open_node(home)
    with recorded_step("fetch_artifact", target.digest):
        artifact = engine.fetch_artifact(
            node.source(reference, credentials), node.content, target, platform_or_host(platform)
        )
    reached("manifest-stored", node, name, target.digest)
    return artifact
