"""Part of the step *fetch_layer*: a blob into its ingest, whatever breaks on the way.

A blob whose connection breaks is resumed where it broke, within one call a few times while there is progress, and in
the next call from what the ingest has. A large one comes over several connections (``parallel``). It is hashed on its
way; reading stops at the first byte too many.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from prestow.content.refs import layer_ref
from prestow.content.store import Progress, Store, Writer, silent
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, MismatchError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.registry.parallel import fetch_chunks
from prestow.registry.source import Fetcher

_log = logging.getLogger(__name__)

_RESUMES = 5
_HASHED_BESIDE = 64 << 20  # bytes that an earlier process left, from which on they are hashed beside the fetch
_GOOD_PROGRESS = 16 << 20  # bytes after which the count of resumes begins anew


@dataclass(frozen=True, slots=True)
class Fetched:
    """A layer that is here, as a blob or as a sealed ingest.

    Attributes:
        ref: name of its ingest.
        size: its bytes.
        fetched_bytes: how many of them this call fetched.
    """

    ref: str
    size: int
    fetched_bytes: int


def fetch_blob(
    source: Fetcher,
    content: Store,
    descriptor: Descriptor,
    *,
    unless: Digest | None = None,
    progress: Progress | None = None,
    arrived: Callable[[int], None] = silent,
) -> Fetched:
    """Fetch a layer's blob into the ingest ``layer-<digest>`` and seal it; nothing to do if it is here.

    Args:
        source: where from.
        content: where to.
        descriptor: the layer.
        unless: a blob that makes it needless, if that is here.
        progress: told of bytes as they come, by any thread.
        arrived: told of the offset up to which the bytes are in the ingest.

    Raises:
        NotFoundError: the registry lacks it.
        UnauthorizedError: who we are may not have it.
        UnavailableError: the connection broke too often; what came is kept, the next call resumes there.
        MismatchError: there are more or fewer bytes than the descriptor says; they are dropped.
        InvalidError: the registry's answer breaks a rule.
        ExhaustedError: the disk is full.
    """
    digest, size = descriptor.digest, descriptor.size
    ref = layer_ref(digest)
    if unless is not None and content.has(unless):
        return Fetched(ref, size, 0)
    try:
        writer = content.writer(ref, algorithm=digest.algorithm, total=size, digest=digest)
    except AlreadyExistsError:
        return Fetched(ref, size, 0)
    with writer:
        if writer.sealed and writer.offset == size:
            return Fetched(ref, size, 0)
        if writer.offset > size:
            writer.truncate()
        fetching = _Fetching(source, writer, descriptor, progress or silent, arrived)
        while not fetching.sealed():
            writer.truncate()  # the bytes were a mirror's, which is set aside: the next server is asked for all of them
        return Fetched(ref, size, fetching.fetched)


class _Fetching:
    """A blob on its way into its ingest.

    Attributes:
        fetched: bytes that came.
    """

    def __init__(
        self,
        source: Fetcher,
        writer: Writer,
        descriptor: Descriptor,
        progress: Progress,
        arrived: Callable[[int], None],
    ) -> None:
        self.fetched = 0
        self._source, self._writer, self._descriptor = source, writer, descriptor
        self._progress, self._arrived = progress, arrived
        self._counting = Lock()

    def sealed(self) -> bool:
        """Fetch and seal; False if the ingest holds a mirror's bytes that are not the blob's."""
        try:
            self._complete()
        except MismatchError:
            if self._source.reject(self._descriptor):
                return False
            self._writer.abort()
            raise
        return self._writer.seal() == self._descriptor.digest or not self._source.reject(self._descriptor)

    def _complete(self) -> None:
        """Fetch what the ingest lacks: over several connections, or else one, beside what is to be hashed yet."""
        parts = self._source.parts(self._descriptor)
        if parts.connections > 1 or self._writer.offset >= _HASHED_BESIDE:
            done = fetch_chunks(self._source, self._writer, self._descriptor, parts, self._count, self._arrived)
            if done:
                return
        self._resume()

    def _resume(self) -> None:
        """Fetch the rest, resuming after a broken connection as long as that brings more bytes."""
        writer, size = self._writer, self._descriptor.size
        resumes, mark = _RESUMES, writer.offset
        while writer.offset < size:
            before = writer.offset
            try:
                self._append()
            except UnavailableError as error:
                if writer.offset - mark >= _GOOD_PROGRESS:
                    resumes, mark = _RESUMES, writer.offset
                if writer.offset == before or resumes == 0 or error.retry_after is not None:
                    raise
                resumes -= 1
                _log.info(
                    "layer %s: resumes at %d of %d: %s", self._descriptor.digest.short, writer.offset, size, error
                )

    def _append(self) -> None:
        """Fetch from the ingest's end on, until the bytes end."""
        writer, size = self._writer, self._descriptor.size
        with self._source.fetch(self._descriptor, writer.offset) as chunks:
            for chunk in chunks:
                if writer.offset + len(chunk) > size:
                    raise MismatchError(f"layer {self._descriptor.digest}: expected {size} bytes, found more")
                writer.write(chunk)
                self._count(len(chunk))
                self._arrived(writer.offset)
        if writer.offset < size:
            raise UnavailableError(f"layer {self._descriptor.digest}: ended after {writer.offset} of {size} bytes")

    def _count(self, count: int) -> None:
        with self._counting:
            self.fetched += count
        self._progress(count)
