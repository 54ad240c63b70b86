"""What the flows return: small frozen values, ready for ``dataclasses.asdict`` and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PulledLayer:
    """One layer after a pull; without unpacking, one blob, which may be a config.

    Attributes:
        size: compressed bytes, as the manifest says.
        diff_id: digest of the uncompressed tar; None without unpacking, as ``chain_id``.
        fetched_bytes: bytes that this run transferred; 0 when the layer was here.
        state: how far the layer has come: ``missing``, ``fetched``, ``stored`` or ``applied``.
    """

    digest: str
    media_type: str
    size: int
    diff_id: str | None
    chain_id: str | None
    fetched_bytes: int
    state: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image after ``pull``.

    Attributes:
        name: the name that points to it, once ``checkpoint`` is ``tagged``.
        digest: digest of the target, an index or a manifest; empty when the pull stopped before it was known.
        checkpoint: the last lifecycle point that was reached.
        fetched_bytes: bytes of layers that this run transferred.
        reused_bytes: bytes of layers that were here.
        seconds: duration of each step that ran, summed over layers, and ``total``, wall time of the run.
    """

    name: str
    digest: str
    manifest_digest: str | None
    platform: str | None
    chain_id: str | None
    checkpoint: str
    layers: tuple[PulledLayer, ...]
    fetched_bytes: int
    reused_bytes: int
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle on disk.

    Attributes:
        id: container ID.
        directory: the bundle's folder, with ``config.json`` and ``rootfs``.
        driver: the snapshotter that shows ``rootfs``; ``copy`` where it is a full copy.
        warnings: what of the image's config was left out, and why.
    """

    id: str
    image: str
    digest: str
    directory: str
    driver: str
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ran:
    """A container after its process ended: ``status`` is the process's exit status, 128+n for signal n."""

    id: str
    image: str
    status: int
    removed: bool
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PrepulledImage:
    """One image of a pre-pull: ``error`` is None when it is here."""

    reference: str
    name: str | None
    digest: str | None
    fetched_bytes: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Prepulled:
    """What a pre-pull left on this host, image by image in the order asked for."""

    host: str
    images: tuple[PrepulledImage, ...]

    @property
    def failed(self) -> int:
        """Number of images that are not here."""
        return sum(image.error is not None for image in self.images)
