"""The content store's interface: bytes by digest, and how they get in.

    writer(ref) ──write──▶ ingest ──seal──▶ sealed ingest ──commit──▶ blob
        ▲                    │  ▲                                       │
        └── offset ◀── close ┘  └─ kept by a crash, resumed by ref      └─ open · read · info · delete

An *ingest* is a partial blob under a *ref*, a name that its user chooses and finds again after a crash. It has one
writer at a time, among all processes. A *blob* is complete, verified and durable, and never changes; whoever commits
bytes that are there already has succeeded. Whatever implements these protocols passes ``tests/conformance/content.py``.

The refs in use are in ``refs.py``.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, Self, TypeAlias

from prestow.content.info import Info, Status
from prestow.digest import Digest
from prestow.oci.document import MAX_DOCUMENT

Progress: TypeAlias = Callable[[int], None]
"""Told of bytes as they are moved or read."""

Data: TypeAlias = bytes | bytearray | memoryview


def silent(_: int) -> None:
    """Take the count of a progress that is not shown."""


class Chunks(Protocol):
    """How far each chunk of an ingest is."""

    def missing(self) -> Iterator[int]:
        """Yield the chunks that are not complete, in order."""

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the offsets of what is missing of a chunk: the next byte, and the end."""


class Writer(Protocol):
    """The only writer of one ingest; leaving the context closes it and keeps the bytes for the next one."""

    @property
    def offset(self) -> int:
        """Bytes of the ingest so far, without a gap: where the next write goes."""

    @property
    def sealed(self) -> bool:
        """Whether the ingest is complete: nothing is left to write."""

    def write(self, data: Data) -> None:
        """Append bytes, and hash them on their way; takes the seal off.

        Raises:
            ExhaustedError: the disk is full; what was written stays, and ``offset`` tells how much.
            StorageError: the disk failed.
        """

    def scatter(self, size: int, length: int) -> Chunks:
        """Begin or resume filling the ingest by chunks of a length, and return how far each of them is.

        What lies behind a gap counts again when the ingest is opened the next time; :meth:`write` and :meth:`seal` drop
        it.
        """

    def write_chunk(self, chunk: int, data: Data) -> None:
        """Write the next bytes of a chunk, and hash nothing; may be called by several threads, each for other chunks.

        Raises:
            As :meth:`write`.
        """

    def catch_up(self, most: int) -> int:
        """Hash what came without a gap, at most so many bytes, and return the offset up to which all is hashed."""

    def truncate(self) -> None:
        """Start again at offset 0."""

    def seal(self) -> Digest:
        """Note that the bytes are complete, and their digest, so that another process can commit them; give it."""

    def commit(self, size: int | None, digest: Digest) -> None:
        """Make the bytes a blob and close; success if that blob is here already.

        Args:
            size: bytes that there must be, where known.
            digest: what they must hash to.

        Raises:
            MismatchError: other size or digest; the ingest is dropped, since resuming it could not help.
            StorageError: the disk failed; after a failed sync the ingest is dropped, its bytes being uncertain.
        """

    def close(self) -> None:
        """Let go of the ingest and keep its bytes; closing twice does no harm."""

    def abort(self) -> None:
        """Drop the ingest and its bytes, and close."""

    def __enter__(self) -> Self:
        """Return the writer itself."""

    def __exit__(self, *_: object) -> None:
        """Close."""


class Provider(Protocol):
    """Gives blobs to read."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob as a seekable file; its bytes are not hashed again.

        Raises:
            NotFoundError: no such blob, or something else than a regular file in its place.
        """

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT) -> bytes:
        """Return a whole small blob, hashed again on every read.

        Raises:
            NotFoundError: no such blob.
            ExhaustedError: more than ``limit`` bytes.
            MismatchError: the bytes on disk are no longer those of the digest.
        """


class Ingester(Protocol):
    """Takes blobs in."""

    def writer(
        self,
        ref: str,
        *,
        algorithm: str = "sha256",
        total: int | None = None,
        digest: Digest | None = None,
        timeout: float | None = None,
    ) -> Writer:
        """Open the ingest of a ref, or resume it at ``writer.offset``; waits for a while if it has another writer.

        Args:
            ref: name of the ingest.
            algorithm: of the digest that the bytes will be committed under.
            total: bytes that are expected, where known.
            digest: blob that is meant to come of it, where known.
            timeout: seconds to wait for another writer; the store's own choice if not given.

        Raises:
            AlreadyExistsError: the blob ``digest`` is here, of size ``total`` (looked for after the wait: the other
                writer may have made it).
            UnavailableError: another writer has held the ingest all the time.
        """

    def commit_ingest(self, ref: str, size: int | None, digest: Digest) -> None:
        """Commit a sealed ingest without reading its bytes again, if the seal shows that they are untouched.

        Success if the blob is here already.

        Raises:
            PreconditionError: no ingest of that ref, or not sealed.
            MismatchError: other size or digest; the ingest is dropped.
            UnavailableError: it has a writer.
        """

    def status(self, ref: str) -> Status | None:
        """Return what is known of one ingest, without waiting for its writer; None if there is none."""

    def tail(self, ref: str) -> BinaryIO:
        """Open the bytes of an ingest while they are written.

        Raises:
            StorageError: there is none, or the disk failed.
        """

    def abort(self, ref: str) -> None:
        """Drop an ingest and its bytes; success if there is none.

        Raises:
            UnavailableError: it has a writer.
        """


class Manager(Protocol):
    """Tells about blobs and removes them."""

    def info(self, digest: Digest) -> Info:
        """Return what is known of a blob.

        Raises:
            NotFoundError: no such blob.
        """

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is here; one of the wrong size is not."""

    def walk(self) -> Iterator[Info]:
        """List all blobs, in no particular order."""

    def delete(self, digest: Digest) -> None:
        """Remove a blob.

        Raises:
            NotFoundError: no such blob.
        """

    def quarantine(self, digest: Digest, why: str) -> object:
        """Take a damaged blob out of the way without deleting it, and note why; success if there is none."""


class Store(Provider, Ingester, Manager, Protocol):
    """All of it."""
