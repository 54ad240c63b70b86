"""The step *verify*: a fetched ingest becomes a blob, if it is what its descriptor says."""

from contextlib import suppress
from dataclasses import dataclass

from prestow.content.refs import layer_ref
from prestow.content.store import Store
from prestow.digest import Digest
from prestow.errors import PreconditionError, UnavailableError
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
    ref = layer_ref(digest)
    if content.has(digest, size):
        return Verified(digest, size)
    status = content.status(ref)
    if unless is None or not content.has(unless) or (status is not None and status.sealed):
        try:
            content.commit_ingest(ref, size, digest)
        except PreconditionError:
            if unless is None or not content.has(unless):  # else it came meanwhile, and the fetched bytes went
                raise
    elif status is not None:  # cut off, or what a power cut left of it; no process resumes it
        with suppress(UnavailableError):
            content.abort(ref)
    return Verified(digest, size)
