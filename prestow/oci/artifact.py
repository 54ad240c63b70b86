"""What a name leads to as it is stored, without a look into configs and layers: a container image, or anything else.

    target ─→ index | manifest ─→ config and layers, as blobs of any media type

Of an index that names platforms one manifest is meant, as for an image; of one that names none (an index of artifacts),
all are. ``subject``, which a manifest may have, leads elsewhere and is not followed.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prestow.errors import ExhaustedError, InvalidError
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Blob
from prestow.oci.index import Index
from prestow.oci.walk import MAX_DEPTH, children, parse_document
from prestow.platforms import Platform

MAX_PARTS = 1000
"""Most documents and blobs of one artifact."""


class Artifact(NamedTuple):
    """Documents, and the blobs that they refer to.

    Attributes:
        target: what the name points to.
        manifests: those that are meant; several only if an index names no platforms.
        artifact_type: what they are, sorted and separated by commas if they differ; not checked.
        blobs: their configs and layers, each digest once.
    """

    target: Descriptor
    manifests: tuple[Descriptor, ...]
    artifact_type: str
    blobs: tuple[Blob, ...]

    @property
    def largest_first(self) -> tuple[Blob, ...]:
        """The blobs in the order in which to fetch them at the same time."""
        return tuple(sorted(self.blobs, key=lambda blob: -blob.descriptor.size))


def meant(index: Index, platform: Platform) -> tuple[Descriptor, ...]:
    """Return the entry of an index for ``platform``; all of its manifests and indexes if none has a platform.

    Raises:
        NotFoundError: none is for the platform.
    """
    entries = index.documents
    if entries and all(entry.platform is None for entry in entries):
        return entries
    return (index.select(platform),)


def gather(
    target: Descriptor, read: Callable[[Descriptor], bytes], select: Callable[[Index], Iterable[Descriptor]]
) -> Artifact:
    """Follow a target down to its blobs.

    Args:
        target: an index or a manifest.
        read: returns the bytes of a document.
        select: chooses entries of an index, as :func:`meant`.

    Raises:
        InvalidError: a document breaks the specification, or there are too many indexes inside each other.
        UnsupportedError: a document of another kind.
        ExhaustedError: there are too many documents and blobs.
    """
    pending, seen = [(target, 1)], {target.digest}
    manifests: list[Descriptor] = []
    kinds: set[str] = set()
    blobs: dict[str, Descriptor] = {}
    while pending:
        descriptor, depth = pending.pop(0)
        document = parse_document(read(descriptor), descriptor.media_type)
        if isinstance(document, Index):
            if depth == MAX_DEPTH:
                raise InvalidError(f"index {target.digest.short}: more than {MAX_DEPTH - 1} indexes inside each other")
            entries = {entry.digest: entry for entry in select(document) if entry.digest not in seen}
            pending += [(entry, depth + 1) for entry in entries.values()]
            seen |= entries.keys()
        else:
            manifests.append(descriptor)
            kinds.add(document.artifact_type)
            blobs |= {child.digest: child for child in children(document)}
        if len(seen) + len(blobs) > MAX_PARTS:
            raise ExhaustedError(f"{target.digest.short}: more than {MAX_PARTS} documents and blobs, the limit for one")
    parts = tuple(Blob(index, len(blobs), blob) for index, blob in enumerate(blobs.values()))
    return Artifact(target, tuple(manifests), ", ".join(sorted(kinds)), parts)
