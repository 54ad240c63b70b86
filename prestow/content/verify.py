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


def verify(content: Store, descriptor: Descriptor) -> Verified:
    """Commit the ingest ``layer-<digest>`` that *fetch_layer* sealed; nothing to do if the blob is here.

    Raises:
        PreconditionError: nothing was fetched, or not all of it.
        MismatchError: the bytes are not what the descriptor says; they are dropped, to be fetched again.
        UnavailableError: another process still writes the ingest.
    """
    digest, size = descriptor.digest, descriptor.size
    if not content.has(digest, size):
        content.commit_ingest(f"layer-{digest}", size, digest)
    return Verified(digest, size)
