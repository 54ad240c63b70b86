"""The writer of an ingest in a folder: hashes once, on the way to the disk.

Bytes that an earlier writer left are hashed when the ingest is resumed, unless its seal can be believed. Whatever
happens between two system calls, the data file is a prefix of the blob, or the commit finds out that it is not.

Several connections fill an ingest by chunks, each at its place; the hash then follows, as far as there is no gap:

    data    ├──── hashed ────┤╌╌ there ╌╌┤  gap  ├╌ there ╌┤
                             catch_up ──▶
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from prestow.content.chunk_map import ChunkMap
from prestow.content.disk import hash_file, hash_part, translated
from prestow.content.ingest import Ingest
from prestow.content.lock import FileLock
from prestow.content.store import Data
from prestow.digest import Digest, Digester
from prestow.errors import MismatchError, PreconditionError, PrestowError, StorageError


class LocalWriter:
    """Implements ``prestow.content.store.Writer``; made by ``LocalStore.writer``."""

    __slots__ = (
        "_algorithm",
        "_chunks",
        "_digester",
        "_fd",
        "_hashed",
        "_ingest",
        "_known",
        "_lock",
        "_offset",
        "_publish",
        "_ref",
        "_sealed",
        "_trash",
    )

    def __init__(
        self,
        ingest: Ingest,
        ref: str,
        *,
        algorithm: str,
        lock: FileLock,
        publish: Callable[[int, Path, Digest], None],
        trash: Path,
    ) -> None:
        """Open the data file; the lock goes over to the writer.

        Args:
            ingest: its folder, made already.
            ref: its name, for messages.
            algorithm: of the digest to come.
            lock: the held lock of the ingest.
            publish: makes a verified file a blob: descriptor, path, digest.
            trash: where the ingest goes when it is dropped.
        """
        self._ingest, self._ref, self._algorithm = ingest, ref, algorithm
        self._publish, self._trash = publish, trash
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(f"opening ingest {ref}"):
            self._fd = os.open(ingest.data, flags, 0o600)
            self._lock = lock
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode):
                os.close(self._fd)
                raise StorageError(f"ingest {ref}: {ingest.data} is not a regular file; remove it")
        self._chunks = ChunkMap.read(ingest.chunks, found.st_size)
        self._offset = found.st_size if self._chunks is None else self._chunks.prefix
        seal = ingest.sealed(self._offset)
        self._sealed = seal is not None
        self._known = seal.digest if seal and seal.describes(found) else None
        self._digester, self._hashed = Digester(algorithm), 0

    @property
    def offset(self) -> int:
        """Bytes so far, without a gap."""
        return self._offset if self._chunks is None else self._chunks.prefix

    @property
    def sealed(self) -> bool:
        """Whether a seal says that they are all."""
        return self._sealed

    def write(self, data: Data) -> None:
        """Append and hash; what a full disk cut off is neither counted nor hashed."""
        fd = self._open()
        self._unseal()
        self._close_gaps()
        self._resume()
        rest = memoryview(data).cast("B")
        with translated(f"writing ingest {self._ref}"):
            while rest:
                count = os.pwrite(fd, rest, self._offset)
                self._digester.write(rest[:count])
                self._offset += count
                self._hashed += count
                rest = rest[count:]

    def scatter(self, size: int, length: int) -> ChunkMap:
        """Begin or resume filling the ingest by chunks, and return how far each of them is."""
        self._open()
        self._unseal()
        if self._chunks is None or self._chunks.size != size:
            self._offset = self.offset
            self._chunks = ChunkMap.create(self._ingest.chunks, self._offset, size, length)
        self._chunks.open()
        return self._chunks

    def write_chunk(self, chunk: int, data: Data) -> None:
        """Write the next bytes of a chunk; may be called by several threads, each for other chunks."""
        assert self._chunks is not None  # noqa: S101 - scatter was called
        fd, rest = self._open(), memoryview(data).cast("B")
        while rest:
            with translated(f"writing ingest {self._ref}"):
                count = os.pwrite(fd, rest, self._chunks.span(chunk)[0])
            self._chunks.add(chunk, count)
            rest = rest[count:]

    def catch_up(self, most: int) -> int:
        """Hash what came without a gap, at most so many bytes, and return up to where it is hashed."""
        self._hash(min(self.offset, self._hashed + most))
        return self._hashed

    def truncate(self) -> None:
        """Start again."""
        fd = self._open()
        self._unseal()
        with translated(f"emptying ingest {self._ref}"):
            if self._chunks is not None:
                self._drop_chunks(0)
            os.ftruncate(fd, 0)
        self._offset, self._digester, self._hashed = 0, Digester(self._algorithm), 0

    def seal(self) -> Digest:
        """Note size and digest for whoever commits."""
        fd = self._open()
        digest = self._digest(self._algorithm)
        self._close_gaps()
        self._ingest.seal(digest, os.fstat(fd))
        self._sealed = True
        return digest

    def commit(self, size: int | None, digest: Digest) -> None:
        """Verify, make durable, publish, drop the ingest, close."""
        fd = self._open()
        if size is not None and size != self.offset:
            self._finish()
            raise MismatchError(f"{self._ref}: expected {size} bytes, found {self.offset}; fetch it again")
        self._close_gaps()
        found = self._digest(digest.algorithm)
        if found != digest:
            self._finish()
            raise MismatchError(f"{self._ref}: expected digest {digest}, found {found}; fetch it again")
        try:
            self._publish(fd, self._ingest.data, digest)
        except BaseException:
            self.close()
            raise
        self._finish()

    def close(self) -> None:
        """Let go of the ingest."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            if self._chunks is not None:
                self._chunks.close()
            self._lock.release()
            os.close(fd)

    def abort(self) -> None:
        """Drop the ingest, under its lock, then let go."""
        if self._fd >= 0:
            try:
                self._ingest.drop(self._trash)
            finally:
                self.close()

    def _finish(self) -> None:
        """Drop the ingest when the outcome is known, which a leftover folder does not change."""
        with suppress(PrestowError):
            self.abort()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close, keeping the bytes."""
        self.close()

    def _open(self) -> int:
        if self._fd < 0:
            raise PreconditionError(f"ingest {self._ref}: its writer is closed; open another")
        return self._fd

    def _unseal(self) -> None:
        """Take back what was said about the bytes, before they change."""
        if self._sealed:
            self._ingest.unseal()
            self._sealed, self._known = False, None

    def _close_gaps(self) -> None:
        """Let the ingest be a prefix again: what lies behind the first gap is dropped."""
        if self._chunks is not None:
            with translated(f"writing ingest {self._ref}"):
                self._drop_chunks(self._chunks.prefix)

    def _drop_chunks(self, offset: int) -> None:
        """Cut the data off at an offset, and remove the map; killed in between, the map says what is left."""
        assert self._chunks is not None  # noqa: S101 - asked before
        self._chunks.close()
        ChunkMap.create(self._ingest.chunks, offset, self._chunks.size, 1 << 62)
        os.ftruncate(self._fd, offset)
        self._ingest.chunks.unlink()
        self._offset, self._chunks = offset, None

    def _resume(self) -> Digester:
        """Return the hash of all bytes so far, reading those of an earlier writer when it is first asked for."""
        self._hash(self.offset)
        return self._digester

    def _hash(self, end: int) -> None:
        """Hash what lies between what is hashed and an offset."""
        if self._hashed < end:
            with translated(f"resuming ingest {self._ref}"):
                hash_part(self._open(), self._digester, self._hashed, end)
            self._hashed = end

    def _digest(self, algorithm: str) -> Digest:
        if self._known is not None and self._known.algorithm == algorithm:
            return self._known
        if algorithm == self._algorithm:
            return self._resume().digest()
        with translated(f"hashing ingest {self._ref}"):
            return hash_file(self._open(), algorithm).digest()
