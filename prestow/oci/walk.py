"""The graph of an image: from a document to what it refers to.

    index ─→ index | manifest ─→ config, layers

A malicious publisher can nest indexes without end and name one child a thousand times. So whoever walks goes at
most :data:`MAX_DEPTH` documents down (:func:`descend`), and :func:`children` names each digest once.
"""

from collections.abc import Callable

from prestow.errors import InvalidError, UnsupportedError, printable
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import load
from prestow.oci.index import Index
from prestow.oci.kind import refuse_schema_1
from prestow.oci.manifest import Manifest

MAX_DEPTH = 3
"""Most documents on one path from an image's name to its layers: index, index, manifest."""


def parse_document(raw: bytes, media_type: str | None) -> Manifest | Index:
    """Read a manifest or an index that came as ``media_type`` (``None``: by its own word).

    Raises:
        InvalidError: it breaks the specification, or contradicts ``media_type``.
        UnsupportedError: schema 1, or a media type that is neither.
        ExhaustedError: too many bytes, layers or entries.
    """
    kind = media_type or _own_media_type(raw)
    refuse_schema_1(kind, "document")
    if mediatypes.is_manifest(kind):
        return Manifest.parse(raw, media_type)
    if mediatypes.is_index(kind):
        return Index.parse(raw, media_type)
    raise UnsupportedError(f"media type {printable(kind)!r} is neither an image manifest nor an image index")


def descend(
    target: Descriptor, read: Callable[[Descriptor], bytes], select: Callable[[Index], Descriptor]
) -> tuple[Descriptor, Manifest]:
    """Go from what a name points to down to one manifest, and give it with its descriptor.

    Args:
        target: an index or a manifest.
        read: gives the bytes of a document.
        select: chooses an entry of an index.

    Raises:
        InvalidError: a document breaks the specification, or there are too many indexes inside each other.
        UnsupportedError: a document of another kind.
        ExhaustedError: a document with too many layers or entries.
    """
    descriptor, document = target, parse_document(read(target), target.media_type)
    for _ in range(MAX_DEPTH - 1):
        if isinstance(document, Manifest):
            return descriptor, document
        descriptor = select(document)
        document = parse_document(read(descriptor), descriptor.media_type)
    if isinstance(document, Index):
        raise InvalidError(f"index {target.digest.short}: more than {MAX_DEPTH - 1} indexes inside each other")
    return descriptor, document


def children(document: Manifest | Index) -> tuple[Descriptor, ...]:
    """Return what a document refers to, each digest once: config and layers, or manifests."""
    found = document.manifests if isinstance(document, Index) else (document.config, *document.layers)
    return tuple({descriptor.digest: descriptor for descriptor in reversed(found)}.values())[::-1]


def _own_media_type(raw: bytes) -> str:
    """Return what a document is by its own fields; its parser checks it again, strictly."""
    fields = load(raw, "document")
    named = fields.get("mediaType")
    if isinstance(named, str) and named:
        return named
    if "manifests" in fields:
        return mediatypes.OCI_INDEX
    if {"layers", "config", "fsLayers"} & fields.keys():
        return mediatypes.OCI_MANIFEST
    raise InvalidError("document: neither an image manifest nor an image index")
