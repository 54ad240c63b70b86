"""Images that are pulled into a store by the steps of the flow, one after the other, without Prefect."""

from collections.abc import Collection
from pathlib import Path

from prestow.content.verify import verify as commit
from prestow.layers.apply import apply
from prestow.metadata.images import ImageRecord
from prestow.metadata.tag import tag
from prestow.oci.image import Image
from prestow.platforms import Platform
from prestow.reference import canonical_source
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.drivers.all import kinds
from prestow.store.node import Node

NAME = "localhost/demo:latest"
DRIVERS = tuple(kinds())


def pulled(
    node: Node,
    reference: str,
    name: str | None = None,
    *,
    architecture: str = "amd64",
    drivers: Collection[str] = DRIVERS,
) -> tuple[ImageRecord, Image]:
    """Pull an image, and unpack it for some drivers; for none, only its documents are fetched."""
    source = node.source(reference)
    target = source.resolve()
    image = fetch_manifest(source, node.content, target, Platform("linux", architecture))
    for layer in image.layers if drivers else ():
        fetch_blob(source, node.content, layer.descriptor)
        commit(node.content, layer.descriptor)
        apply(node.content, layer, scans=node.scans)
    for driver in node.snapshotters:
        if driver.driver in drivers:
            commit_snapshots(driver, image)
    origin = canonical_source(reference)
    return tag(node.database, node.content, name or reference, target, source=origin), image


def pulled_demo(node: Node, layout: Path, architecture: str = "amd64", *, drivers: Collection[str] = DRIVERS) -> Image:
    """Pull the demo image of a layout under the name ``NAME``."""
    return pulled(node, f"oci:{layout}:demo", NAME, architecture=architecture, drivers=drivers)[1]
