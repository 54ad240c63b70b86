"""Which blobs an export has: all that is here of each image, without those that an earlier export held or left out.

An index is exported unchanged, with the manifests of those platforms that are here whole. Documents are always part of
an export, so that it says by itself what it is; only configs and layers are left out. Their digests are listed in its
``index.json``: a site that pulled it has them, and its images protect them there, as those that it held. A blob that a
document merely names counts for nothing: the archives of other tools may name platforms that they do not have.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, printable
from prestow.oci.descriptor import Descriptor, parse_digest
from prestow.oci.index import Index
from prestow.oci.manifest import Manifest
from prestow.oci.walk import MAX_DEPTH, children, parse_document
from prestow.reference import LayoutReference
from prestow.registry.archive import Scratch
from prestow.registry.contents import Contents
from prestow.registry.layout import Layout
from prestow.registry.layout_source import Layouts

LEFT_OUT = "prestow.left-out"
"""Annotation of an export's ``index.json``: the digests of configs and layers that it left out, with spaces between."""

InEarlier = Callable[[Descriptor], bool]


class Blobs(Protocol):
    """What is here."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether a blob is here, whole."""

    def read(self, digest: Digest) -> bytes:
        """Return a document's bytes, verified."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image of an export.

    Attributes:
        name: its name, in canonical form.
        target: the index or manifest that the name points to.
        platforms: those that are here, as text.
        manifests: those that are here whole, in the order of an index.
        documents: indexes and manifests.
        blobs: configs and layers.
    """

    name: str
    target: Descriptor
    platforms: tuple[str, ...]
    manifests: tuple[Manifest, ...]
    documents: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


def choose(content: Blobs, name: str, target: Descriptor, in_earlier: InEarlier) -> Chosen:
    """Return what there is to export of an image.

    Raises:
        NotFoundError: neither here nor in an earlier export: a blob of a manifest, or of all manifests of an index.
        MismatchError: a document is corrupt.
        InvalidError: a document breaks the specification.
    """
    documents: dict[Digest, Descriptor] = {}
    blobs: dict[Digest, Descriptor] = {}
    platforms: list[str] = []
    manifests: list[Manifest] = []
    missing: list[Descriptor] = []
    for way, manifest in _ways(content, target, ()):
        parts = children(manifest)
        absent = [part for part in parts if not content.has(part.digest, part.size) and not in_earlier(part)]
        missing += absent
        if not absent:
            documents |= {document.digest: document for document in way}
            blobs |= {part.digest: part for part in parts}
            platforms += [str(way[-1].platform)] if way[-1].platform else []
            manifests.append(manifest)
    if not documents:
        lacking = f"{missing[0].digest} of it is not in the store" if missing else "no manifest of it is in the store"
        raise NotFoundError(
            f"image {printable(name)} cannot be exported: {lacking}; pull it again, with the setting keep_blobs on"
        )
    return Chosen(name, target, tuple(platforms), tuple(manifests), tuple(documents.values()), tuple(blobs.values()))


def _ways(
    content: Blobs, target: Descriptor, above: tuple[Descriptor, ...]
) -> Iterator[tuple[tuple[Descriptor, ...], Manifest]]:
    """Yield each manifest that is here, with the documents that lead to it, itself last."""
    way = (*above, target)
    document = parse_document(content.read(target.digest), target.media_type)
    if not isinstance(document, Index):
        yield way, document
        return
    if len(way) >= MAX_DEPTH:
        raise InvalidError(f"index {target.digest.short}: more than {MAX_DEPTH - 1} indexes inside each other")
    for entry in {entry.digest: entry for entry in document.documents}.values():
        if content.has(entry.digest, entry.size):
            yield from _ways(content, entry, way)


def earlier_exports(earlier: Iterable[Path], scratch: Scratch) -> InEarlier:
    """Return whether any of some earlier exports held a blob, or left it out because a still earlier one held it.

    Args:
        earlier: archives, and directories of layouts.
        scratch: where compressed archives are decompressed to.

    Raises:
        As :meth:`prestow.registry.layout_source.Layouts.open`.
    """
    layouts = Layouts(scratch)
    opened = {path: layouts.open(LayoutReference(path)) for path in earlier}
    left_out = frozenset(digest for path, contents in opened.items() for digest in _left_out(path, contents))

    def in_earlier(blob: Descriptor) -> bool:
        return blob.digest in left_out or any(_holds(contents, blob) for contents in opened.values())

    return in_earlier


def _left_out(path: Path, contents: Contents) -> list[Digest]:
    if not isinstance(contents, Layout):
        return []
    listed = contents.index().annotations.get(LEFT_OUT, "").split()
    return [parse_digest(digest, f"{path}: annotation {LEFT_OUT}") for digest in listed]


def _holds(contents: Contents, blob: Descriptor) -> bool:
    with suppress(NotFoundError), contents.open(blob.digest) as run:
        return run.size == blob.size
    return False
