"""The step *fetch_artifact*: the documents of whatever a name points to, a container image or not.

fetch_artifact   index ─▶ manifest          configs and layers are blobs for *fetch_layer*, of any size and type
"""

from prestow.content.store import Store
from prestow.oci.artifact import Artifact, gather, meant
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from prestow.registry.fetch import fetch_document
from prestow.registry.source import Fetcher


def fetch_artifact(source: Fetcher, content: Store, target: Descriptor, platform: Platform) -> Artifact:
    """Fetch what describes an artifact, and return it; of an index with platforms, the manifest for ``platform``.

    Raises:
        As :func:`prestow.registry.fetch.fetch_manifest`; but what is no container image is no error.
    """
    return gather(
        target,
        lambda document: fetch_document(source, content, "manifest", document),
        lambda index: meant(index, platform),
    )
