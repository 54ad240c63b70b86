"""Blobs on disk: an OCI image layout, so that other tools read them as they are (image-spec, image-layout.md).

    content/
      oci-layout
      index.json                        names, derived from the metadata store: see metadata/layout_index.py
      blobs/<algorithm>/<hex digits>    complete, verified, read-only

Something under a blob's name that is not a regular file, or is empty without being the empty blob, is no blob.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from prestow.content.descriptors import FILE
from prestow.content.disk import (
    create_file,
    failure,
    hash_file,
    make_folder,
    remove_flat,
    set_aside,
    sync_folder,
    translated,
)
from prestow.content.info import Info
from prestow.content.process_identity import random_hex
from prestow.content.quarantine import Quarantine
from prestow.digest import Digest
from prestow.errors import ExhaustedError, MismatchError, NotFoundError, PrestowError
from prestow.oci.document import MAX_DOCUMENT

MARKER = "oci-layout"
"""Name of the file by which other tools know a layout."""

LAYOUT = {"imageLayoutVersion": "1.0.0"}
"""What it says."""

_BUFFER = 1 << 16
_INDEX = json.dumps({"schemaVersion": 2, "manifests": []}).encode()


class Blobs:
    """The blobs of one layout: ``Provider`` and ``Manager`` of ``prestow.content.store``."""

    def __init__(self, root: Path, *, trash: Path, durable: bool = True) -> None:
        """Open the layout at ``root``, or make it; beside it lies ``quarantine``, which is ``held``.

        Args:
            root: its folder.
            trash: a folder of the same file system, for what is being deleted.
            durable: whether to wait for the disk.

        Raises:
            StorageError: the folders cannot be made.
        """
        self.root, self.trash, self.durable = root, trash, durable
        self.quarantine_area = Quarantine(root.parent / "quarantine")
        with translated(f"opening the content store {root}"):
            for folder in (root / "blobs" / "sha256", trash):
                make_folder(folder, durable=durable)
            self.complete()

    def complete(self) -> None:
        """Make what every layout has, where it is missing (image-spec, image-layout.md).

        Raises:
            StorageError: it cannot be made.
        """
        with translated(f"opening the content store {self.root}"):
            for name, data in ((MARKER, f"{json.dumps(LAYOUT)}\n".encode()), ("index.json", _INDEX)):
                if not (self.root / name).exists():
                    create_file(self.root / name, data, durable=self.durable)

    def path(self, digest: Digest) -> Path:
        """Return the file name of a blob, whether it is here or not."""
        return self.root / "blobs" / digest.algorithm / digest.encoded

    def open_fd(self, digest: Digest) -> int:
        """Open a blob for reading, as a descriptor that the caller closes.

        Raises:
            NotFoundError: no such blob.
        """
        with translated(f"opening blob {digest}"):
            try:
                fd = os.open(self.path(digest), FILE)
            except OSError as error:
                if not self.has(digest):
                    raise _absent(digest) from error
                if isinstance(error, FileNotFoundError):  # another process has committed it this moment
                    return self.open_fd(digest)
                raise
        if not _complete(os.fstat(fd), digest):
            os.close(fd)
            raise _absent(digest)
        return fd

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading, with a small buffer: whoever reads much reads in large pieces."""
        return os.fdopen(self.open_fd(digest), "rb", buffering=_BUFFER)

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT) -> bytes:
        """Return a small blob, verified."""
        with self.open(digest) as file, translated(f"reading blob {digest}"):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ExhaustedError(f"blob {digest}: more than the {limit} bytes that a document may have")
        if (found := Digest.of(data, digest.algorithm)) != digest:
            raise _damaged(digest, found)
        return data

    def check(self, digest: Digest, *, progress: Callable[[int], None] | None = None) -> Info:
        """Hash a blob of any size again, telling ``progress`` of the bytes, and tell about it.

        Raises:
            NotFoundError: no such blob.
            MismatchError: its bytes are no longer those of the digest.
        """
        fd = self.open_fd(digest)
        try:
            with translated(f"reading blob {digest}"):
                found = hash_file(fd, digest.algorithm, progress).digest()
        finally:
            os.close(fd)
        if found != digest:
            raise _damaged(digest, found)
        return self.info(digest)

    def info(self, digest: Digest) -> Info:
        """Return what is known of a blob."""
        try:
            found = os.lstat(self.path(digest))
        except OSError as error:
            raise _absent(digest) from error
        if not _complete(found, digest):
            raise _absent(digest)
        return Info(digest, found.st_size, found.st_mtime, found.st_nlink > 1)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether it is here, and of that size."""
        try:
            info = self.info(digest)
        except NotFoundError:
            return False
        return size is None or info.size == size

    def walk(self) -> Iterator[Info]:
        """List the blobs; names that are no digest are passed over."""
        for algorithm in ("sha256", "sha512"):
            for name in self._names(algorithm):
                with suppress(PrestowError):
                    yield self.info(Digest.parse(f"{algorithm}:{name}"))

    def _names(self, algorithm: str) -> list[str]:
        with translated("listing blobs"), suppress(FileNotFoundError):
            return [path.name for path in (self.root / "blobs" / algorithm).iterdir()]
        return []

    def delete(self, digest: Digest) -> None:
        """Remove a blob: out of sight at once, then from the disk."""
        with translated(f"deleting blob {digest}"):
            remove_flat(self.discard(digest))

    def discard(self, digest: Digest) -> Path:
        """Move a blob to the trash, where its bytes wait for ``empty_trash``; quick whatever its size.

        Returns:
            Where it lies now.

        Raises:
            NotFoundError: no such blob.
        """
        grave = self.trash / f"blob-{digest.encoded[:16]}-{random_hex(8)}"
        with translated(f"deleting blob {digest}"):
            if not set_aside(self.path(digest), grave):
                raise _absent(digest)
        return grave

    def quarantine(self, digest: Digest, why: str) -> Path | None:
        """Move what has a blob's name out of the way, whatever it is, and give where it is; None if there is none.

        Raises:
            ExhaustedError: the disk is full.
            StorageError: the disk failed.
        """
        return self.quarantine_area.take(self.path(digest), why)

    def empty_trash(self) -> None:
        """Remove what this store moved to the trash, also before a crash; other things there are not ours.

        Raises:
            StorageError: something could not be removed; everything else was.
        """
        failed: OSError | None = None
        with translated(f"emptying {self.trash}"):
            for path in self.trash.iterdir():
                if path.name.startswith(("blob-", "ingest-")):
                    try:
                        remove_flat(path)
                    except OSError as error:
                        failed = error
            if failed is not None:
                raise failed

    def publish(self, fd: int, path: Path, digest: Digest) -> None:
        """Make a verified file the blob of that digest; if that is here, the file stays where it is.

        Args:
            fd: the open file.
            path: where it lies.
            digest: what its bytes were found to hash to.

        Raises:
            StorageError: the disk failed. After a failed sync the bytes are uncertain, so the file is removed.
        """
        size = os.fstat(fd).st_size
        if self.has(digest, size):
            return
        target = self.path(digest)
        with translated(f"committing blob {digest}"):
            make_folder(target.parent, durable=self.durable)
            self._synced(lambda: os.fsync(fd), path, digest)
            if target.is_dir() and not target.is_symlink():
                self.discard(digest)
            path.rename(target)
            os.fchmod(fd, 0o444)  # not before: an ingest that is resumed must be open to writing
            self._synced(lambda: sync_folder(target.parent), target, digest)

    def _synced(self, sync: Callable[[], None], path: Path, digest: Digest) -> None:
        """Sync, or remove the file: its pages are marked clean now, whether they reached the disk or not."""
        try:
            if self.durable:
                sync()
        except OSError as error:
            path.unlink(missing_ok=True)
            raise failure(error, f"committing blob {digest}: the disk failed to keep it") from error


def _complete(found: os.stat_result, digest: Digest) -> bool:
    """Whether it can be the blob at all."""
    return stat.S_ISREG(found.st_mode) and (found.st_size > 0 or Digest.of(b"", digest.algorithm) == digest)


def _absent(digest: Digest) -> NotFoundError:
    return NotFoundError(f"blob {digest} is not in the content store; pull the image that it belongs to")


def _damaged(digest: Digest, found: Digest) -> MismatchError:
    return MismatchError(f"blob {digest} is damaged: its bytes hash to {found}; pull the image again, or repair it")
