"""The graph of an image: from a document to what it refers to.

    index ─→ index | manifest ─→ config, layers

A malicious publisher can nest indexes without end and name one child a thousand times. So whoever walks goes at
most :data:`MAX_DEPTH` documents down, and :func:`children` names each digest once.
"""

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


def children(document: Manifest | Index) -> tuple[Descriptor, ...]:
    """Give what a document refers to, each digest once: config and layers, or manifests."""
    found = document.manifests if isinstance(document, Index) else (document.config, *document.layers)
    return tuple({descriptor.digest: descriptor for descriptor in reversed(found)}.values())[::-1]


def _own_media_type(raw: bytes) -> str:
    """Tell by a document's own fields what it is; its parser checks it again, strictly."""
    fields = load(raw, "document")
    named = fields.get("mediaType")
    if isinstance(named, str) and named:
        return named
    if "manifests" in fields:
        return mediatypes.OCI_INDEX
    if {"layers", "config", "fsLayers"} & fields.keys():
        return mediatypes.OCI_MANIFEST
    raise InvalidError("document: neither an image manifest nor an image index")
