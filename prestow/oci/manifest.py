"""Manifests: one image for one platform, as a config and layers, lowest first (image-spec, manifest.md)."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from prestow.digest import Digest
from prestow.errors import ExhaustedError, UnsupportedError, printable
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor, parse_descriptor
from prestow.oci.kind import MANIFEST, check_consistent

MAX_LAYERS = 1000
"""Most layers of one image; builders stop at 127."""


class Manifest(NamedTuple):
    """A checked manifest; the raw bytes stay beside it, because they are what has the digest.

    Attributes:
        raw: the document as it came.
        media_type: OCI's or Docker's.
        config: descriptor of the image config.
        layers: descriptors of the layers, lowest first.
        artifact_type: what it is: ``artifactType``, else the type of the config; not checked.
        annotations: the publisher's words.
    """

    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str
    annotations: Mapping[str, str] = {}

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None) -> Self:
        """Read a manifest that came as ``media_type`` (``None``: by its own word).

        Raises:
            InvalidError: not a manifest, or one that breaks the specification.
            UnsupportedError: schema 1, or a digest of an unsupported algorithm.
            ExhaustedError: too many bytes or layers.
        """
        record, media_type = MANIFEST.read(raw, media_type)
        layers = record.items("layers")
        if len(layers) > MAX_LAYERS:
            raise ExhaustedError(f"{record.what}: {len(layers)} layers; images are limited to {MAX_LAYERS} layers")
        config = parse_descriptor(record.fields.get("config"), record.at("config"))
        manifest = cls(
            raw,
            media_type,
            config,
            tuple(parse_descriptor(layer, f"{record.at('layers')}[{n}]") for n, layer in enumerate(layers)),
            record.text("artifactType", "") or config.media_type,
            record.text_map("annotations"),
        )
        check_consistent((manifest.config, *manifest.layers), record.what)
        return manifest

    @property
    def digest(self) -> Digest:
        """The sha256 digest of the document."""
        return Digest.of(self.raw)

    def check_image(self) -> None:
        """Refuse what is no container image, before anything that it refers to is fetched.

        Raises:
            UnsupportedError: a chart, a signature, an attestation …, encrypted layers, or no layers at all.
        """
        if self.config.media_type not in mediatypes.CONFIGS:
            raise self._not_an_image(f"it is an artifact of type {printable(self.artifact_type)!r}")
        if not self.layers:
            raise self._not_an_image("it has no layers")
        for layer in self.layers:
            try:
                mediatypes.layer_compression(layer.media_type)
            except UnsupportedError as error:
                raise self._not_an_image(str(error)) from error

    def _not_an_image(self, why: str) -> UnsupportedError:
        return UnsupportedError(
            f"manifest {self.digest.short} is not a container image that can be unpacked or run: {why}; "
            "to store it as it is, use `prestow pull --no-unpack`"
        )
