"""Refs of ingests: what a partial blob is, and the digest that it will have."""

from prestow.digest import Digest


def document_ref(kind: str, digest: Digest) -> str:
    """Return the ref of a document's download; ``kind``: ``config``, or ``manifest``, which an index is too."""
    return f"{kind}-{digest}"


def layer_ref(digest: Digest) -> str:
    """Return the ref of a layer's download."""
    return f"layer-{digest}"


def diff_ref(diff_id: Digest) -> str:
    """Return the ref of a diff blob, while its layer is decompressed."""
    return f"diff-{diff_id}"
