"""The writer of an ingest in a folder: hashes once, on the way to the disk.

Bytes that an earlier writer left are hashed when the ingest is resumed, unless its seal can be believed. Whatever
happens between two system calls, the data file is a prefix of the blob, or the commit finds out that it is not.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from prestow.content.disk import hash_file, translated
from prestow.content.ingest import Ingest
from prestow.content.lock import FileLock
from prestow.content.store import Data
from prestow.digest import Digest, Digester
from prestow.errors import MismatchError, PreconditionError, PrestowError, StorageError


class LocalWriter:
    """Implements ``prestow.content.store.Writer``; made by ``LocalStore.writer``."""

    __slots__ = (
        "_algorithm",
        "_digester",
        "_fd",
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
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with translated(f"opening ingest {ref}"):
            self._fd = os.open(ingest.data, flags, 0o600)
            self._lock = lock
            found = os.fstat(self._fd)
            if not stat.S_ISREG(found.st_mode):
                os.close(self._fd)
                raise StorageError(f"ingest {ref}: {ingest.data} is not a regular file; remove it")
        self._offset = found.st_size
        seal = ingest.sealed(self._offset)
        self._sealed = seal is not None
        self._known = seal.digest if seal and seal.describes(found) else None
        self._digester: Digester | None = None if self._offset else Digester(algorithm)

    @property
    def offset(self) -> int:
        """Bytes so far."""
        return self._offset

    @property
    def sealed(self) -> bool:
        """Whether a seal says that they are all."""
        return self._sealed

    def write(self, data: Data) -> None:
        """Append and hash; what a full disk cut off is neither counted nor hashed."""
        fd, digester = self._open(), self._resume()
        self._unseal()
        rest = memoryview(data).cast("B")
        with translated(f"writing ingest {self._ref}"):
            while rest:
                count = os.write(fd, rest)
                digester.write(rest[:count])
                self._offset += count
                rest = rest[count:]

    def truncate(self) -> None:
        """Start again."""
        fd = self._open()
        self._unseal()
        with translated(f"emptying ingest {self._ref}"):
            os.ftruncate(fd, 0)
        self._offset, self._digester = 0, Digester(self._algorithm)

    def seal(self) -> Digest:
        """Note size and digest for whoever commits."""
        fd = self._open()
        digest = self._digest(self._algorithm)
        self._ingest.seal(digest, os.fstat(fd))
        self._sealed = True
        return digest

    def commit(self, size: int | None, digest: Digest) -> None:
        """Verify, make durable, publish, drop the ingest, close."""
        fd = self._open()
        if size is not None and size != self._offset:
            self._finish()
            raise MismatchError(f"{self._ref}: expected {size} bytes, found {self._offset}; fetch it again")
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

    def _resume(self) -> Digester:
        """Return the hash of all bytes so far, reading those of an earlier writer when it is first asked for."""
        if self._digester is None:
            with translated(f"resuming ingest {self._ref}"):
                self._digester = hash_file(self._open(), self._algorithm)
        return self._digester

    def _digest(self, algorithm: str) -> Digest:
        if self._known is not None and self._known.algorithm == algorithm:
            return self._known
        if algorithm == self._algorithm:
            return self._resume().digest()
        with translated(f"hashing ingest {self._ref}"):
            return hash_file(self._open(), algorithm).digest()
