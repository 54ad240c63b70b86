"""Bring the bytes of an image into containerd's content store: small ones are sent, large ones linked and adopted.

A blob that lies under its name before containerd knows of it is *adopted*: a writer that is opened with its digest
commits without bytes, and containerd compares the size. If containerd's garbage collection meets the link before it is
adopted, the link goes, and the blob is linked again, or in the end sent. The labels are those by which that garbage
collection finds its way: from an index to manifests, to config and layers, and from the config to the snapshots.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.content.blobs import Blobs
from prestow.content.disk import translated
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, NotFoundError, PreconditionError, RuntimeFailedError
from prestow.handover.containerd.client import Client
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, Layer
from prestow.oci.index import Index
from prestow.oci.walk import parse_document

_SMALL = 64 << 10
"""Bytes up to which a blob is sent: a link would save nothing."""
_PIECE = 1 << 20
_CONTENT = "containerd.io/gc.ref.content"
_LINKINGS = 3
_WRITE, _COMMIT = 1, 2  # WriteAction of content.proto


@dataclass(frozen=True, slots=True)
class Blobstore:
    """containerd's content store, beside ours.

    Attributes:
        client: containerd.
        ours: where the blobs are.
        root: folder of containerd's; None if it does not say.
        unique: begins the names of what is written, which no other process has.
    """

    client: Client
    ours: Blobs
    root: Path | None
    unique: str

    def give(self, digest: Digest, labels: Mapping[str, str]) -> None:
        """Let containerd have one blob, with labels; success if it is there.

        Raises:
            NotFoundError: it is not in our store.
        """
        known = self.client.find("Content.Info", digest=digest)
        if known is None:
            size = self.ours.info(digest).size
            with suppress(AlreadyExistsError):  # another process gave it
                self._bring(digest, size, labels)
                return
            known = self.client.call("Content.Info", digest=digest)
        present = dict(known.info.labels)
        if lacking := {key: value for key, value in labels.items() if present.get(key) != value}:
            paths = [f"labels.{key}" for key in lacking]
            self.client.call("Content.Update", info={"digest": digest, "labels": lacking}, update_mask={"paths": paths})

    def _bring(self, digest: Digest, size: int, labels: Mapping[str, str]) -> None:
        write = {"ref": f"{self.unique}-{digest}", "total": size, "expected": digest}
        for _ in range(_LINKINGS):
            if size <= _SMALL or self.root is None or not _link(self.ours.path(digest), _path(self.root, digest), size):
                break
            try:  # an offset below the size would truncate what is adopted
                self.client.write([{**write, "action": _COMMIT, "offset": size, "labels": dict(labels)}])
            except (PreconditionError, RuntimeFailedError):
                with suppress(NotFoundError):
                    self.client.call("Content.Abort", ref=write["ref"])
            else:
                return
        self.client.write(self._pieces(digest, write, labels))

    def _pieces(self, digest: Digest, write: dict[str, Any], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        offset = 0
        with self.ours.open(digest) as file:
            while piece := file.read(_PIECE):
                yield {**write, "action": _WRITE, "offset": offset, "data": piece}
                offset += len(piece)
        yield {**write, "action": _COMMIT, "offset": offset, "labels": dict(labels)}


def give_image(store: Blobstore, image: Image, snapshotter: str) -> None:
    """Let containerd have everything that an image consists of, documents first.

    Raises:
        PreconditionError: a layer is not here as it was compressed, or a document is missing.
    """
    for layer in image.layers:
        if not store.ours.has(layer.descriptor.digest, layer.descriptor.size):
            raise PreconditionError(
                f"layer {layer.descriptor.digest.short} is not in the store as it was compressed, and a runtime needs "
                "it so; set keep_blobs to true, and pull the image again"
            )
    for digest, labels in _indexes(store.ours, image.target, image.manifest):
        store.give(digest, labels)
    layers = {f"{_CONTENT}.l.{layer.position}": layer.descriptor.digest for layer in image.layers}
    store.give(image.manifest.digest, {f"{_CONTENT}.config": image.config.digest, **layers})
    store.give(image.config.digest, {f"containerd.io/gc.ref.snapshot.{snapshotter}": image.chain_id})
    for layer in image.layers:
        store.give(layer.descriptor.digest, {"containerd.io/uncompressed": layer.diff_id})


def unpacked_layer(store: Blobstore, layer: Layer) -> dict[str, Any]:
    """Let containerd have what a layer is applied from, and describe it as containerd's ``Descriptor``.

    That is its diff blob where it is here, which needs no decompressing; containerd forgets it when the lease ends.
    """
    if not store.ours.has(layer.diff_id):
        blob = layer.descriptor
        return {"media_type": blob.media_type, "digest": blob.digest, "size": blob.size}
    store.give(layer.diff_id, {})
    return {
        "media_type": mediatypes.OCI_LAYER,
        "digest": layer.diff_id,
        "size": store.ours.info(layer.diff_id).size,
    }


def _indexes(ours: Blobs, target: Descriptor, manifest: Descriptor) -> list[tuple[Digest, dict[str, str]]]:
    """Return the indexes from a target down to a manifest, with the label of each that leads on to the next."""
    if target.digest == manifest.digest or not ours.has(target.digest, target.size):
        return []
    index = parse_document(ours.read(target.digest), target.media_type)
    for at, entry in enumerate(index.manifests if isinstance(index, Index) else ()):
        below = _indexes(ours, entry, manifest)
        if below or entry.digest == manifest.digest:
            return [(target.digest, {f"{_CONTENT}.m.{at}": entry.digest}), *below]
    return []


def _path(root: Path, digest: Digest) -> Path:
    """Return where containerd keeps a blob."""
    return root / "blobs" / digest.algorithm / digest.encoded


def _link(source: Path, target: Path, size: int) -> bool:
    """Let a blob of ours lie in containerd's store, too; whether one of that size does."""
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileExistsError:  # of another namespace of containerd, or ours, not adopted
            raise
        except OSError:  # another file system, one without links, too many links, or a store without blobs yet
            return False
    with translated(f"reading {target}"):
        try:
            return target.stat().st_size == size
        except FileNotFoundError:
            return False
