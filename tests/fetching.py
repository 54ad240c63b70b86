"""Fetching an image by the engine: its documents and all its layers, each verified, into a content store."""

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.oci.image import Image
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.source import Source, Sources

AMD64 = Platform("linux", "amd64")


def documents(sources: Sources, reference: str, content: LocalStore) -> tuple[Source, Image]:
    """Resolve a reference and fetch its documents."""
    source = sources.open(Reference.parse(reference))
    return source, fetch_manifest(source, content, source.resolve(), AMD64)


def fetched(sources: Sources, reference: str, content: LocalStore) -> Image:
    """Fetch all of an image."""
    source, image = documents(sources, reference, content)
    for layer in image.layers:
        fetch_blob(source, content, layer.descriptor)
        verify(content, layer.descriptor)
    return image
