"""From a name's target to the image, out of the content store alone: the first steps of a bundle.

Documents are hashed again on every read, so that a damaged one is found here and not in a running container.
"""

from typing import Protocol

from prestow.digest import Digest
from prestow.errors import NotFoundError, PrestowError
from prestow.oci.artifact import Artifact, gather, meant
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, assemble
from prestow.oci.image_config import ImageConfig
from prestow.oci.index import Index
from prestow.oci.manifest import Manifest
from prestow.oci.walk import descend
from prestow.platforms import Platform, choose


class Documents(Protocol):
    """Where the documents are."""

    def read(self, digest: Digest) -> bytes:
        """Return a document's bytes."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether a blob is here, whole."""


def find_image(content: Documents, target: Descriptor, platform: Platform) -> Image:
    """Return the image of ``platform`` that a target stands for, as far as its documents are in the store.

    Raises:
        NotFoundError: the manifest or the config is not here, or there is none for the platform.
        MismatchError: a document is damaged.
        InvalidError: a document is not what it should be.
        UnsupportedError: an artifact that is no container image, or an image that cannot be unpacked.
    """
    entry, manifest = descend(
        target,
        lambda descriptor: content.read(descriptor.digest),
        lambda index: _present(content, index, target, platform),
    )
    return image_of(content, target, entry, manifest)


def image_of(content: Documents, target: Descriptor, entry: Descriptor, manifest: Manifest) -> Image:
    """Return the image of a manifest, which ``target`` leads to as ``entry``; raises as :func:`find_image`."""
    manifest.check_image()  # before its config is read, which may be no image config
    return assemble(target, manifest, read_config(content, manifest.config), selected=entry)


def find_artifact(content: Documents, target: Descriptor) -> Artifact:
    """Return what a target leads to, as far as its documents are in the store; raises as :func:`find_image`."""
    return gather(
        target,
        lambda descriptor: content.read(descriptor.digest),
        lambda index: [entry for entry in index.documents if content.has(entry.digest, entry.size)],
    )


def holds_artifact(content: Documents, target: Descriptor, platform: Platform) -> bool:
    """Whether the documents that a pull for ``platform`` without unpacking fetches are here, undamaged."""
    try:
        gather(target, lambda descriptor: content.read(descriptor.digest), lambda index: meant(index, platform))
    except PrestowError:
        return False
    return True


def holds_documents(content: Documents, target: Descriptor, platform: Platform) -> bool:
    """Whether index, manifest and config of an image are here, undamaged."""
    try:
        find_image(content, target, platform)
    except PrestowError:
        return False
    return True


def read_config(content: Documents, descriptor: Descriptor) -> ImageConfig:
    """Return an image config; raises as :func:`find_image`."""
    return ImageConfig.parse(content.read(descriptor.digest))


def _present(content: Documents, index: Index, target: Descriptor, platform: Platform) -> Descriptor:
    """Choose among the manifests that are here: an index is pulled for one platform at a time."""
    here = [entry for entry in index.manifests if content.has(entry.digest, entry.size)]
    position = choose(platform, [entry.platform for entry in here])
    if position is None:
        known = ", ".join(str(entry.platform) for entry in here if entry.platform) or "none"
        raise NotFoundError(
            f"image {target.digest.short} is not here for {platform} (here: {known}); "
            f"pull it with --platform {platform}"
        )
    return here[position]
