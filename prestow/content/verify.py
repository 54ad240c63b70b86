"""The step *verify*: a fetched ingest becomes a blob, if it is what its descriptor says."""

from dataclasses import dataclass

from prestow.content.store import Store
from prestow.digest import Digest
from prestow.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class Verified:
    """A blob that is in the content store.

    Attributes:
        digest: its name.
        size: its bytes.
    """

    digest: Digest
    size: int


def verify(content: Store, descriptor: Descriptor, *, unless: Digest | None = None) -> Verified:
    """Commit the ingest ``layer-<digest>`` that *fetch_layer* sealed; nothing to do if the blob is here.

    Args:
        content: where the ingest is, and the blob will be.
        descriptor: the blob.
        unless: a blob that makes it needless, if that is here; then nothing need have been fetched.

    Raises:
        PreconditionError: nothing was fetched, or not all of it.
        MismatchError: the bytes are not what the descriptor says; they are dropped, to be fetched again.
        UnavailableError: another process still writes the ingest.
    """
    digest, size = descriptor.digest, descriptor.size
    ref = f"layer-{digest}"
    needless = unless is not None and content.has(unless) and content.status(ref) is None
    if not (needless or content.has(digest, size)):
        content.commit_ingest(ref, size, digest)
    return Verified(digest, size)
