"""Whether several images fit together on the disk, before anything of their layers is fetched."""

from collections.abc import Sequence

from prestow.digest import Digest
from prestow.errors import RefusedError
from prestow.oci.artifact import Artifact
from prestow.oci.image import Image
from prestow.space.admission import announced_space, needs_of
from prestow.space.estimate import free_space, of_blobs
from prestow.store.node import Node


def free_for_images(node: Node, reserve: int = 0) -> int:
    """Return the bytes that images may still take, beside ``reserve`` or ``min_free_bytes``, whichever is more."""
    beside = max(reserve, node.settings.min_free_bytes)
    return max(0, free_space(node.home).bytes - beside - announced_space(node)[0])


def check_together(node: Node, images: Sequence[Image | Artifact], driver: str = "auto", *, reserve: int = 0) -> None:
    """Check that images fit together; layers that they share count once, and what is here does not.

    Args:
        node: the store.
        images: what is to come; their manifests are here.
        driver: the snapshotter.
        reserve: bytes that stay free, if they are more than ``min_free_bytes``.

    Raises:
        RefusedError: they do not fit; with the bytes that are needed and those that are free.
        UnsupportedError: the snapshotter does not work here.
    """
    needed = _needed(node, images, driver) if node.settings.check_space else 0
    free = free_for_images(node, reserve)
    if needed > free:
        beside = max(reserve, node.settings.min_free_bytes)
        raise RefusedError(
            f"{len(images)} images do not fit on the disk of {node.home}: they need {needed} bytes, and {free} bytes "
            f"are free beside the {beside} that are to stay; free some with `prestow prune`, or let the set have fewer "
            "images or less free space"
        )


def _needed(node: Node, images: Sequence[Image | Artifact], driver: str) -> int:
    """Return the bytes that images take, at the peak of their pulls one after the other if blobs do not stay."""
    stay, largest, counted = 0, 0, set[Digest]()
    for image in images:
        if isinstance(image, Artifact):
            new = [blob for blob in image.blobs if blob.descriptor.digest not in counted]
            stay += of_blobs(new, node.content).bytes
            counted |= {blob.descriptor.digest for blob in new}
            continue
        found = needs_of(node, image, node.snapshotter(driver), counted)
        counted |= {layer.diff_id for layer in image.layers}
        if node.settings.keep_blobs:
            stay += found.bytes
        else:
            stay += found.unpacked + found.files
            largest = max(largest, *found.blobs, 0)
    return stay + largest
