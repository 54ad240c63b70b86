"""Stores of many images, made in bulk: as whole to every verb as if each image had been pulled, a thousand a second.

Image N has one layer of its own, whose only file holds N: so all have the same tree but for that file's bytes, which
stay in the tar, and one metadata image, made by the driver once, is right for all.
"""

import gc
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from prestow.digest import Digest
from prestow.layers.erofs.image import encode
from prestow.layers.tree.merge import merge
from prestow.metadata.containers import publish_containers
from prestow.metadata.publish import publish_names
from prestow.oci import mediatypes
from prestow.runtime.bundle import CONFIG
from prestow.store.in_progress import COPY
from prestow.store.node import Node
from tests.tar_builder import Tar

DRIVER = "erofs"
CREATED = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class _Image:
    """One image: its number, the blobs that it consists of, and what names it."""

    number: int
    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def name(self) -> str:
        """Its name in the store."""
        return name(self.number)


def name(number: int) -> str:
    """Return the name of an image."""
    return f"registry.example/team-{number % 97}/image-{number:06d}:1.0"


def layer(number: int) -> bytes:
    """Return an image's only layer, a tar."""
    return Tar().file("number", f"{number:08d}".encode()).to_bytes()


def grow(node: Node, count: int, *, first: int = 0) -> None:
    """Add so many images to a store, each with its name and its snapshot.

    Args:
        node: the store.
        count: how many.
        first: number of the first one.
    """
    images = _images(first, first + count)
    metadata_image = _metadata_image(node, first)
    folder = node.home / "snapshots" / DRIVER
    node.snapshotter(DRIVER) if not folder.is_dir() else None
    while batch := list(islice(images, 1000)):
        for image in batch:
            for blob in (image.layer, image.config, image.manifest):
                _write(node.content.path(Digest.of(blob)), blob)
            _write(folder / f"{Digest.of(image.layer).encoded}.erofs", metadata_image, mode=0o600)
        _insert(node, batch)
    publish_names(node.database, node.content)
    gc.collect()


def grow_containers(node: Node, count: int) -> None:
    """Add so many containers to a store, each of another of the images, with bundles of their own."""
    rows = []
    for image in _images(0, count):
        bundle = node.bundle_folder(f"{image.number:06d}")
        bundle.mkdir(parents=True)
        (bundle / CONFIG).write_text("{}")
        digest = Digest.of(image.manifest)
        rows.append((node.namespace, bundle.name, image.name, digest, COPY, "", str(bundle), CREATED))
    with node.database.transaction() as cursor:
        cursor.executemany(
            "INSERT INTO containers (namespace, id, image, manifest_digest, driver, snapshot_key, bundle, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        publish_containers(node.database)


def _images(first: int, end: int) -> Iterator[_Image]:
    for number in range(first, end):
        tar = layer(number)
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [Digest.of(tar)]}}
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": mediatypes.OCI_MANIFEST,
                "config": _descriptor(mediatypes.OCI_CONFIG, config),
                "layers": [_descriptor(mediatypes.OCI_LAYER, tar)],
            }
        ).encode()
        yield _Image(number, tar, config, manifest)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": Digest.of(data), "size": len(data)}


def _metadata_image(node: Node, number: int) -> bytes:
    """Make the metadata image of all images."""
    tar = layer(number)
    digest = Digest.of(tar)
    _write(node.content.path(digest), tar)
    made = node.home / "trash" / "metadata-image"
    with made.open("w+b") as file:
        encode(merge(None, node.scans.tree(digest, 0)), [len(tar)]).write(file)
    data = made.read_bytes()
    made.unlink()
    return data


def _write(path: Path, data: bytes, *, mode: int = 0o444) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, data)
    os.fchmod(fd, mode)
    os.close(fd)


def _insert(node: Node, images: list[_Image]) -> None:
    last = node.database.read("SELECT max(id) FROM snapshots WHERE driver = ?", (DRIVER,))[0][0] or 0
    with node.database.transaction() as cursor:
        cursor.executemany(
            "INSERT INTO images (namespace, name, digest, media_type, size, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    node.namespace,
                    image.name,
                    Digest.of(image.manifest),
                    mediatypes.OCI_MANIFEST,
                    len(image.manifest),
                    CREATED + image.number,
                    CREATED + image.number,
                )
                for image in images
            ],
        )
        cursor.executemany(
            "INSERT INTO snapshots (driver, key, kind, parent, id, diff_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (DRIVER, (chain := Digest.of(image.layer)), "committed", None, number, chain, CREATED)
                for number, image in enumerate(images, last + 1)
            ],
        )
