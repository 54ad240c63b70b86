"""Ingests on disk.

    ingest/
      .locks/<sha256 of ref>    locked by the one writer; permanent, so it lies outside of what is removed
      <sha256 of ref>/
        ref                     the ref itself
        total                   bytes that are expected, where known
        data                    bytes so far; their number is the file's size, unless there are
      chunks                  how far each chunk of it is, while several connections fill it (chunk_map.py)
        progress                the seal: digest and size, and by which file, when and since which boot they are known

The seal is trusted while it describes the data file to the nanosecond within the same boot. After a reboot, or if
anything differs, the bytes are hashed again: a power cut may have kept the seal and lost the bytes.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from prestow.content.chunk_map import ChunkMap
from prestow.content.descriptors import FILE
from prestow.content.disk import check_descriptors, make_folder, remove_flat, replace_file, set_aside, translated
from prestow.content.info import Status
from prestow.content.lock import FileLock
from prestow.content.process_identity import boot_id, random_hex
from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, printable

_REF_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Seal:
    """What a writer knew when it had written all.

    Attributes:
        digest: of the bytes, hashed while they were written.
        size: their number.
        inode: the file they are in.
        mtime_ns: when the last of them was written.
        boot_id: during which boot.
    """

    digest: Digest
    size: int
    inode: int
    mtime_ns: int
    boot_id: str

    @classmethod
    def of(cls, digest: Digest, found: os.stat_result) -> Self:
        """Seal a data file as it is now."""
        return cls(digest, found.st_size, found.st_ino, found.st_mtime_ns, boot_id())

    def describes(self, found: os.stat_result) -> bool:
        """Whether the file is untouched, so that the digest can be believed."""
        return bool(self.boot_id) and self == Seal.of(self.digest, found)

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """Read a seal; None for anything else, such as what a power cut leaves."""
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(
                Digest.parse(fields["digest"]),
                int(fields["size"]),
                int(fields["inode"]),
                int(fields["mtime_ns"]),
                str(fields["boot_id"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError, PrestowError):
            return None


class Ingest:
    """The folder of one ingest; all but reading its status wants its lock."""

    __slots__ = ("_folders", "key")

    def __init__(self, folders: Path, key: str) -> None:
        """Name the ingest in ``folders`` whose folder is called ``key``."""
        self._folders = folders
        self.key = key

    @classmethod
    def of(cls, folders: Path, ref: str) -> Self:
        """Name the ingest of a ref.

        Raises:
            InvalidError: an empty or endless ref, or one with control characters.
        """
        if not ref or len(ref) > _REF_LENGTH or not ref.isprintable():
            raise InvalidError(f"ref {printable(ref)!r}: expected 1 to {_REF_LENGTH} printable characters")
        return cls(folders, hashlib.sha256(ref.encode()).hexdigest())

    @classmethod
    def walk(cls, folders: Path) -> Iterator[Self]:
        """Name all ingests that there are."""
        with translated("listing ingests"):
            keys = [entry.name for entry in os.scandir(folders) if not entry.name.startswith(".")]
        return (cls(folders, key) for key in keys)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folders / self.key

    @property
    def data(self) -> Path:
        """Its bytes."""
        return self.folder / "data"

    @property
    def chunks(self) -> Path:
        """How far each chunk is, where there is such a file."""
        return self.folder / "chunks"

    @property
    def _progress(self) -> Path:
        return self.folder / "progress"

    def lock(self, ref: str, *, timeout: float) -> FileLock:
        """Become its only writer.

        Raises:
            UnavailableError: it has one, and had it for ``timeout`` seconds.
        """
        path = self._folders / ".locks" / self.key
        return FileLock(path, timeout=timeout, what=f"ingest {ref or self.key}", progress=self._activity)

    def _activity(self) -> int:
        """Return a number that changes when bytes come, by which those who wait see that its writer goes on."""
        with suppress(OSError):
            return os.lstat(self.data).st_mtime_ns
        return 0

    def create(self, ref: str, total: int | None) -> None:
        """Make the folder, or take over the one that a dead writer left."""
        with translated(f"starting ingest {ref}"):
            make_folder(self.folder, durable=False)
            if self._read("ref") != ref.encode():
                replace_file(self.folder / "ref", ref.encode(), durable=False)
            if total is not None:
                replace_file(self.folder / "total", str(total).encode(), durable=False)

    def _read(self, name: str) -> bytes | None:
        """Return one of the small files, None if it is not there or not a file.

        Raises:
            StorageError: the disk failed.
        """
        try:
            fd = os.open(self.folder / name, FILE)
        except OSError:
            check_descriptors(f"reading ingest {self.key}")
            return None
        with os.fdopen(fd, "rb") as file, translated(f"reading {self.folder / name}"):
            return file.read(4 * _REF_LENGTH) if stat.S_ISREG(os.fstat(fd).st_mode) else None

    def seal(self, digest: Digest, found: os.stat_result) -> None:
        """Note that the data file is complete, and what it hashes to."""
        record = json.dumps(asdict(Seal.of(digest, found))).encode()
        with translated(f"sealing ingest {self.key}"):
            replace_file(self._progress, record, durable=False)

    def unseal(self) -> None:
        """Forget the seal, before the data changes."""
        with translated(f"reopening ingest {self.key}"):
            self._progress.unlink(missing_ok=True)

    def sealed(self, size: int) -> Seal | None:
        """Return the seal, if there is one for so many bytes."""
        seal = Seal.parse(self._read("progress") or b"")
        return seal if seal is not None and seal.size == size else None

    def status(self) -> Status | None:
        """Return what is known of the ingest as it is at this moment; None if there is none."""
        try:
            folder = os.lstat(self.folder)
        except FileNotFoundError:
            return None
        found = None
        with suppress(OSError):
            found = os.lstat(self.data)
        size = found.st_size if found else 0
        chunks = ChunkMap.read(self.chunks, size)
        total = self._read("total") or b""
        return Status(
            ref=(self._read("ref") or b"").decode("utf-8", "replace"),
            offset=chunks.present if chunks else size,
            total=int(total) if total.isdigit() else None,
            sealed=chunks is None and self.sealed(size) is not None,
            updated_at=max(folder.st_mtime, found.st_mtime if found else 0.0),
        )

    def drop(self, trash: Path) -> None:
        """Remove it: out of sight at once, then piece by piece."""
        grave = trash / f"ingest-{self.key[:16]}-{random_hex(8)}"
        with translated(f"removing ingest {self.key}"):
            if set_aside(self.folder, grave):
                remove_flat(grave)
