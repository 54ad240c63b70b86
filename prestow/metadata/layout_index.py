"""``index.json``: the names of the images, where other tools look for them (image-spec, image-layout.md).

It is derived: the metadata store has the names, and when they change the file is replaced. What another tool writes
into it lasts until then. Should the metadata store be lost, the names are read back from here.

Each entry is a line, and the lines are sorted, so that a name is found by halving, and the file with some names changed
is the old one but for their lines: with 20,000 names that takes 4 ms, and to write all of them anew half a second.

Names of other namespaces than the default one are not for other tools: their entries have no name of the standard's
kind, only annotations of ours, and neither have labels.

Two limits are those of the other tools: skopeo finds no name with ``__`` in it, which image-spec's grammar of this
annotation lacks, and none that stands for a Docker manifest.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from prestow.content.disk import read_file, replace_file, translated
from prestow.errors import InvalidError, PrestowError, printable
from prestow.metadata.lines import Lines
from prestow.metadata.namespace import DEFAULT, check_namespace
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.index import Index

REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation under which skopeo, umoci and podman look an image up."""

_TIME = re.compile(r"[0-9]{1,12}\.[0-9]{1,12}", re.ASCII)

_HEAD = f'{{"schemaVersion": 2, "mediaType": "{mediatypes.OCI_INDEX}", "manifests": ['.encode()
_TAIL = b"\n]}\n"

_NAMESPACE = "io.prestow.namespace"
_NAME = "io.prestow.name"
_LABEL = "io.prestow.label."
_CREATED = "io.prestow.created"
_UPDATED = "io.prestow.updated"

Key: TypeAlias = tuple[str, str]
"""Namespace and name, by which the entries are sorted."""


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
    lines = [_line(image) for image in sorted(images, key=_key)]
    data = _HEAD + b",".join(lines) + _TAIL
    path = content_root / "index.json"
    with translated(f"writing {path}"):
        if not path.is_file() or path.read_bytes() != data:
            replace_file(path, data, durable=durable)


def change_index(content_root: Path, changes: Mapping[Key, Named | None], *, durable: bool = True) -> None:
    """Replace some names in a layout that :func:`write_index` wrote, atomically, and copy the others as they are.

    Args:
        content_root: folder of the layout.
        changes: what becomes of which names; None for those that go.
        durable: whether to wait for the disk.

    Raises:
        InvalidError: the file is of another form; write all of it.
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
    """
    path = content_root / "index.json"
    with translated(f"writing {path}"), path.open("rb", buffering=0) as old:
        lines = Lines(old, len(_HEAD), os.fstat(old.fileno()).st_size - len(_TAIL))
        if lines.read(0, lines.begin) != _HEAD or lines.read(lines.end, lines.end + len(_TAIL)) != _TAIL:
            raise InvalidError(f"{path}: not as it was written")
        replace_file(path, _changed(lines, changes), durable=durable)


def _changed(lines: Lines, changes: Mapping[Key, Named | None]) -> Iterator[bytes]:
    """Yield the file with some lines changed; those that stay together are copied together."""
    yield _HEAD
    at, separator = lines.begin, b""
    for key in [*sorted(changes), None]:
        begin, after = (lines.end, lines.end) if key is None else lines.place(key, _key_of, at)
        if begin > at:
            yield separator
            yield from lines.copied(at, begin)
            separator = b","
        if key is not None and (image := changes[key]) is not None:
            yield separator + _line(image)
            separator = b","
        at = after
    yield _TAIL


def read_index(content_root: Path) -> list[Named]:
    """Return the names in a layout; entries without a name are passed over.

    Raises:
        StorageError: it cannot be read.
        InvalidError: it is not an index.
    """
    path = content_root / "index.json"
    with translated(f"reading {path}"):
        raw = read_file(path)
    return [found for target in Index.parse(raw, of_layout=True).manifests if (found := named(target)) is not None]


def entry(image: Named) -> dict[str, Any]:
    """Return a name as the file has it."""
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


def _line(image: Named) -> bytes:
    return b"\n" + json.dumps(entry(image)).encode()


def _key(image: Named) -> Key:
    return image.namespace, image.name


def _key_of(line: bytes) -> Key:
    """Return the name of a line, which :func:`_line` made."""
    try:
        found = json.loads(line)["annotations"]
        return (found[_NAMESPACE], found[_NAME]) if _NAME in found else (DEFAULT, found[REF_NAME])
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidError(f"index.json: a line is not as it was written: {printable(str(error))}") from error


def named(entry: Descriptor) -> Named | None:
    """Read an entry, which another tool may have written; None if it has no name."""
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
