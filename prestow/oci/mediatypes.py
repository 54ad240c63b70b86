"""Media types: what the bytes of a blob are, by the word of whoever refers to it.

Three kinds matter: manifests, indexes and layers. Everything else that a registry holds (charts, signatures,
attestations, WebAssembly modules) is not a container image, and is refused by name.
"""

from typing import Literal

from prestow.errors import UnsupportedError, printable

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

Compression = Literal["none", "gzip", "zstd"]

_OCI_SUFFIXES: dict[str, Compression] = {"": "none", "+gzip": "gzip", "+zstd": "zstd"}
_DOCKER_SUFFIXES: dict[str, Compression] = {"": "none", ".gzip": "gzip", ".zstd": "zstd"}
_LAYERS = {base + suffix: kind for base in (OCI_LAYER, OCI_FOREIGN_LAYER) for suffix, kind in _OCI_SUFFIXES.items()} | {
    base + suffix: kind for base in (DOCKER_LAYER, DOCKER_FOREIGN_LAYER) for suffix, kind in _DOCKER_SUFFIXES.items()
}


def is_manifest(media_type: str) -> bool:
    """Whether this is the manifest of one image: OCI, or Docker schema 2."""
    return media_type in MANIFESTS


def is_index(media_type: str) -> bool:
    """Whether this is a list of manifests: an OCI index, or a Docker manifest list."""
    return media_type in INDEXES


def is_foreign(media_type: str) -> bool:
    """Whether this is a layer that registries need not have (non-distributable)."""
    return media_type.startswith((OCI_FOREIGN_LAYER, DOCKER_FOREIGN_LAYER))


def layer_compression(media_type: str) -> Compression:
    """Return how a layer's tar is compressed; foreign (non-distributable) layers are layers like others.

    Raises:
        UnsupportedError: an encrypted layer, or something that is not a layer.
    """
    compression = _LAYERS.get(media_type)
    if compression is not None:
        return compression
    kind = "an encrypted layer" if media_type.endswith("+encrypted") else "no file system layer known here"
    raise UnsupportedError(f"media type {printable(media_type)!r} is {kind}; expected a tar, plain, gzip or zstd")
