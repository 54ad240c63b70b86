"""``index.json``: the names of the images, where other tools look for them (image-spec, image-layout.md).

It is derived: the metadata store has the names, and whenever they change the whole file is replaced. What another tool
writes into it lasts until then. Should the metadata store be lost, the names are read back from here.

Two limits are those of the other tools: skopeo finds no name with ``__`` in it, which image-spec's grammar of this
annotation lacks, and none that stands for a Docker manifest.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prestow.content.disk import replace_file, translated
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.index import Index

REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation under which skopeo, umoci and podman look an image up."""


def write_index(content_root: Path, images: Iterable[tuple[str, Descriptor]], *, durable: bool = True) -> None:
    """Replace the names in a layout, atomically; nothing is written if they are the same.

    Args:
        content_root: folder of the layout.
        images: names and the manifests or indexes that they stand for.
        durable: whether to wait for the disk.

    Raises:
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
    """
    manifests = [_entry(name, target) for name, target in sorted(images, key=lambda image: image[0])]
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": manifests}
    data = json.dumps(document, indent=2).encode() + b"\n"
    path = content_root / "index.json"
    with translated(f"writing {path}"):
        if not path.is_file() or path.read_bytes() != data:
            replace_file(path, data, durable=durable)


def remove_leftovers(content_root: Path) -> None:
    """Remove what was about to replace ``index.json`` when its writer died; call it when nobody else writes it.

    Raises:
        StorageError: the disk failed.
    """
    with translated(f"tidying {content_root}"):
        for name in ("index.json", "oci-layout"):
            for path in content_root.glob(f".{name}.*"):
                path.unlink(missing_ok=True)


def read_index(content_root: Path) -> list[tuple[str, Descriptor]]:
    """Give the names in a layout; entries without a name are passed over.

    Raises:
        StorageError: it cannot be read.
        InvalidError: it is not an index.
    """
    path = content_root / "index.json"
    with translated(f"reading {path}"):
        raw = path.read_bytes()
    index = Index.parse(raw, None)
    return [(name, target) for target in index.manifests if (name := target.annotations.get(REF_NAME))]


def _entry(name: str, target: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": target.media_type,
        "digest": target.digest,
        "size": target.size,
        "annotations": {REF_NAME: name},
    }
