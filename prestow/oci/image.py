"""The image that crosses every step of a pull: what to fetch, what it must unpack to, and what that is called.

:func:`assemble` joins a manifest and its config. From then on a layer is one value that knows both its names: the
digest of the bytes that travel and the diff ID of the tar inside them.
"""

from typing import NamedTuple, TypeAlias

from prestow.digest import Digest
from prestow.errors import InvalidError
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.platforms import Platform


class Blob(NamedTuple):
    """One blob of several that are fetched together.

    Attributes:
        position: its place among them, from 0.
        total: their number.
        descriptor: the blob.
    """

    position: int
    total: int
    descriptor: Descriptor


class Layer(NamedTuple):
    """One layer of an image, ``position`` 0 for the lowest; its blob is compressed as a rule.

    Attributes:
        position, total, descriptor: as of a :class:`Blob`.
        diff_id: digest of the uncompressed tar.
        chain_id: name of the snapshot of this layer on all layers below it.
    """

    position: int
    total: int
    descriptor: Descriptor
    diff_id: Digest
    chain_id: Digest


AnyBlob: TypeAlias = Blob | Layer
"""What is fetched of an image, or of an artifact, whose blobs are no layers."""


class Image(NamedTuple):
    """One image for one platform.

    Attributes:
        target: what its name points to: an index, or the manifest itself.
        manifest: descriptor of the manifest.
        config: descriptor of the image config.
        platform: the platform that the config names.
        layers: lowest first; at least one.
    """

    target: Descriptor
    manifest: Descriptor
    config: Descriptor
    platform: Platform
    layers: tuple[Layer, ...]

    @property
    def chain_id(self) -> Digest:
        """Name of the snapshot of the whole image."""
        return self.layers[-1].chain_id

    @property
    def largest_first(self) -> tuple[Layer, ...]:
        """The layers in the order in which to handle them at the same time, so that none is left over at the end."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.descriptor.size))


def assemble(
    target: Descriptor, manifest: Manifest, config: ImageConfig, *, selected: Descriptor | None = None
) -> Image:
    """Join a manifest and its config to an image.

    ``selected`` is the manifest's entry in the index, where the name points to an index: under its digest the
    manifest is stored, be it sha256 or sha512. Without it that is the target, or else the manifest's sha256.

    Raises:
        InvalidError: the two do not fit each other.
        UnsupportedError: not a container image that can be unpacked here.
    """
    manifest.check_image()
    count = len(manifest.layers)
    if count != len(config.diff_ids):
        raise InvalidError(
            f"manifest {manifest.digest.short} has {count} layers, its config {config.digest.short} "
            f"{len(config.diff_ids)} diff IDs; the image is broken, build it again"
        )
    _check_diff_ids(manifest, config)
    names = zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True)
    return Image(
        target=target,
        manifest=selected or _descriptor_of(manifest, target, config.platform),
        config=manifest.config,
        platform=config.platform,
        layers=tuple(Layer(index, count, *layer) for index, layer in enumerate(names)),
    )


def _check_diff_ids(manifest: Manifest, config: ImageConfig) -> None:
    """Refuse a layer that stands twice and should unpack to different things."""
    seen: dict[Digest, Digest] = {}
    for descriptor, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        if seen.setdefault(descriptor.digest, diff_id) != diff_id:
            raise InvalidError(
                f"manifest {manifest.digest.short}: layer {descriptor.digest.short} has two diff IDs, "
                f"{seen[descriptor.digest].short} and {diff_id.short}"
            )


def _descriptor_of(manifest: Manifest, target: Descriptor, platform: Platform) -> Descriptor:
    if target.media_type == manifest.media_type:
        return target
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), platform)
