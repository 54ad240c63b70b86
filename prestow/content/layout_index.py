"""``index.json``: the names of the images, where other tools look for them (image-spec, image-layout.md).

It is derived: the metadata store has the names, and whenever they change the whole file is replaced. What another tool
writes into it lasts until then. Should the metadata store be lost, the names are read back from here.

Names of other namespaces than the default one are not for other tools: their entries have no name of the standard's
kind, only annotations of ours, and neither have labels.

Two limits are those of the other tools: skopeo finds no name with ``__`` in it, which image-spec's grammar of this
annotation lacks, and none that stands for a Docker manifest.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prestow.content.disk import read_file, replace_file, translated
from prestow.errors import PrestowError
from prestow.namespace import DEFAULT, check_namespace
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.index import Index

REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation under which skopeo, umoci and podman look an image up."""

_TIME = re.compile(r"[0-9]{1,12}\.[0-9]{1,12}", re.ASCII)

_NAMESPACE = "io.prestow.namespace"
_NAME = "io.prestow.name"
_LABEL = "io.prestow.label."
_CREATED = "io.prestow.created"
_UPDATED = "io.prestow.updated"


@dataclass(frozen=True, slots=True)
class Named:
    """An entry of the index.

    Attributes:
        name: the name.
        target: the manifest or index that it stands for.
        namespace: whose name it is.
        labels: its labels.
        created_at: when the name came up, in seconds since the epoch; None if the file does not tell.
        updated_at: when it came to stand for this target, likewise.
    """

    name: str
    target: Descriptor
    namespace: str = DEFAULT
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: float | None = field(default=None, compare=False)
    updated_at: float | None = field(default=None, compare=False)


def write_index(content_root: Path, images: Iterable[Named], *, durable: bool = True) -> None:
    """Replace the names in a layout, atomically; nothing is written if they are the same.

    Args:
        content_root: folder of the layout.
        images: the names of all namespaces.
        durable: whether to wait for the disk.

    Raises:
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
    """
    manifests = [_entry(image) for image in sorted(images, key=lambda image: (image.namespace, image.name))]
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


def read_index(content_root: Path) -> list[Named]:
    """Give the names in a layout; entries without a name are passed over.

    Raises:
        StorageError: it cannot be read.
        InvalidError: it is not an index.
    """
    path = content_root / "index.json"
    with translated(f"reading {path}"):
        raw = read_file(path)
    return [named for target in Index.parse(raw, None).manifests if (named := _named(target)) is not None]


def _entry(image: Named) -> dict[str, Any]:
    ours = {_NAMESPACE: image.namespace, _NAME: image.name}
    names = {REF_NAME: image.name} if image.namespace == DEFAULT else ours
    labels = {_LABEL + key: value for key, value in sorted(image.labels.items())}
    times = {_CREATED: image.created_at, _UPDATED: image.updated_at}
    return {
        "mediaType": image.target.media_type,
        "digest": image.target.digest,
        "size": image.target.size,
        "annotations": names | labels | {key: str(time) for key, time in times.items() if time is not None},
    }


def _named(entry: Descriptor) -> Named | None:
    """Read an entry, which another tool may have written."""
    found = entry.annotations
    namespace, name = (found.get(_NAMESPACE), found.get(_NAME)) if _NAME in found else (DEFAULT, found.get(REF_NAME))
    if not name or not namespace or not _is_namespace(namespace):
        return None
    labels = {key.removeprefix(_LABEL): value for key, value in found.items() if key.startswith(_LABEL)}
    times = (_seconds(found.get(key, "")) for key in (_CREATED, _UPDATED))
    return Named(name, Descriptor(entry.media_type, entry.digest, entry.size), namespace, labels, *times)


def _seconds(text: str) -> float | None:
    return float(text) if _TIME.fullmatch(text) else None


def _is_namespace(text: str) -> bool:
    try:
        check_namespace(text)
    except PrestowError:
        return False
    return True
