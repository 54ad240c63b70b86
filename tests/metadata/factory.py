"""Small images in a store, made of a few bytes each; layers need not be tars here."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.metadata.database import Database
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids

_GZIP = 31  # as `gzip` has it, whose header differs from Python to Python


@dataclass(frozen=True)
class Home:
    """A store's state."""

    path: Path
    db: Database
    content: LocalStore

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open it, or make it."""
        return cls(
            path,
            Database(path / "metadata.db", timeout=20),
            LocalStore(path / "content", path / "ingest", durable=False, lock_timeout=20),
        )

    def put(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Commit bytes."""
        digest = Digest.of(data)
        with self.content.writer(f"factory-{digest}") as writer:
            writer.write(data)
            writer.commit(len(data), digest)
        return Descriptor(media_type, digest, len(data))

    def digests(self) -> set[Digest]:
        """Return what is in the content store."""
        return {info.digest for info in self.content.walk()}


@dataclass(frozen=True)
class Made:
    """An image in the store.

    Attributes:
        target: its manifest.
        config: its config.
        layers: its layers.
        diff_ids: its decompressed layers.
    """

    target: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]

    @property
    def chains(self) -> tuple[Digest, ...]:
        """Chain IDs of all heights."""
        return chain_ids(self.diff_ids)

    @property
    def documents(self) -> set[Digest]:
        """Manifest and config."""
        return {self.target.digest, self.config.digest}

    @property
    def blobs(self) -> set[Digest]:
        """All that is in the content store, but not an index."""
        return self.documents | {layer.digest for layer in self.layers} | set(self.diff_ids)


def reference(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as JSON has it."""
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def config(diff_ids: Sequence[Digest], note: str = "") -> bytes:
    """Return an image config."""
    rootfs = {"type": "layers", "diff_ids": list(diff_ids)}
    return json.dumps({"os": "linux", "architecture": "amd64", "author": note, "rootfs": rootfs}).encode()


def make_image(home: Home, *layers: bytes, note: str = "", docker: bool = False) -> Made:
    """Put an image of the given (decompressed) layers into the store: documents, layers, decompressed layers."""
    kinds = (
        (mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_CONFIG, mediatypes.DOCKER_LAYER + ".gzip")
        if docker
        else (mediatypes.OCI_MANIFEST, mediatypes.OCI_CONFIG, mediatypes.OCI_LAYER_GZIP)
    )
    diff_ids = tuple(home.put(layer).digest for layer in layers)
    blobs = tuple(home.put(zlib.compress(layer, 9, _GZIP), kinds[2]) for layer in layers)
    image_config = home.put(config(diff_ids, note), kinds[1])
    target = home.put(manifest(image_config, *blobs, media_type=kinds[0]), kinds[0])
    return Made(target, image_config, blobs, diff_ids)


def manifest(image_config: Descriptor, *layers: Descriptor, media_type: str = mediatypes.OCI_MANIFEST) -> bytes:
    """Return a manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": reference(image_config),
            "layers": [reference(layer) for layer in layers],
        }
    ).encode()


def make_index(home: Home, *targets: Descriptor, docker: bool = False) -> Descriptor:
    """Put an index into the store, whether its targets are there or not."""
    media_type = mediatypes.DOCKER_LIST if docker else mediatypes.OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": [reference(target) for target in targets]}
    return home.put(json.dumps(document).encode(), media_type)


def absent(data: bytes, media_type: str = mediatypes.OCI_MANIFEST) -> Descriptor:
    """Describe bytes that are not in the store."""
    return Descriptor(media_type, Digest.of(data), len(data))
