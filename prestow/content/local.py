"""The content store in folders of this host, shared by any number of processes.

    <content>/   an OCI image layout: see blobs.py
    <ingest>/    partial blobs, see ingest.py
    <trash>/     blobs and ingests on their way out

All three lie on one file system, since commits and removals are renames. There is no lock on the whole: an ingest has
its own, and a blob appears and disappears in one step.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from prestow.content.blobs import Blobs
from prestow.content.disk import make_folder, remove_abandoned, translated
from prestow.content.info import Status
from prestow.content.ingest import Ingest
from prestow.content.writer import LocalWriter
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, PreconditionError, UnavailableError


class LocalStore(Blobs):
    """Implements ``prestow.content.store.Store``."""

    def __init__(
        self,
        root: Path,
        ingests: Path,
        *,
        trash: Path | None = None,
        durable: bool = True,
        lock_timeout: float = 60.0,
    ) -> None:
        """Open the store, or make it.

        Args:
            root: the content folder.
            ingests: folder of the partial blobs.
            trash: folder for what is being removed; ``trash`` beside the content folder if not given.
            durable: whether a commit waits for the disk; without, a power cut may take committed blobs.
            lock_timeout: seconds to wait for an ingest that another process has and to which no bytes come.

        Raises:
            StorageError: the folders cannot be made.
        """
        super().__init__(root, trash=root.parent / "trash" if trash is None else trash, durable=durable)
        self.ingests = ingests
        self._lock_timeout = lock_timeout
        with translated(f"opening the ingests {ingests}"):
            make_folder(ingests / ".locks", durable=durable)

    def writer(
        self,
        ref: str,
        *,
        algorithm: str = "sha256",
        total: int | None = None,
        digest: Digest | None = None,
        timeout: float | None = None,
    ) -> LocalWriter:
        """Open or resume an ingest; ``algorithm`` spares a second hashing, it does not bind the commit."""
        ingest = Ingest.of(self.ingests, ref)
        lock = ingest.lock(ref, timeout=self._lock_timeout if timeout is None else timeout)
        try:
            if digest is not None and self.has(digest, total):
                raise AlreadyExistsError(f"blob {digest} is in the content store")  # noqa: TRY301 - seen under the lock
            ingest.create(ref, total)
            return LocalWriter(ingest, ref, algorithm=algorithm, lock=lock, publish=self.publish, trash=self.trash)
        except BaseException:
            lock.release()
            raise

    def commit_ingest(self, ref: str, size: int | None, digest: Digest) -> None:
        """Commit what another writer sealed, perhaps another process."""
        # In this order: who commits meanwhile makes the blob first, and then drops the ingest.
        if self.status(ref) is None and not self.has(digest, size):
            raise PreconditionError(f"nothing was fetched for {ref}: fetch it, then commit it")
        try:
            writer = self.writer(ref, algorithm=digest.algorithm, total=size, digest=digest)
        except AlreadyExistsError:
            self._drop_leftover(ref)
            return
        with writer:
            if not writer.sealed:
                here = writer.offset
                if here == 0:  # it went meanwhile, and we have made another one
                    writer.abort()
                raise PreconditionError(f"ingest {ref} is incomplete: {here} bytes are here; fetch the rest")
            writer.commit(size, digest)

    def _drop_leftover(self, ref: str) -> None:
        """Remove an ingest that is of no use any more, unless another process uses it."""
        with suppress(UnavailableError):
            self.abort(ref)

    def tail(self, ref: str) -> BinaryIO:
        """Open the bytes of an ingest to read them while they are written; they have not been verified.

        Raises:
            StorageError: there is none.
        """
        with translated(f"reading ingest {ref}"):
            return Ingest.of(self.ingests, ref).data.open("rb", buffering=0)

    def status(self, ref: str) -> Status | None:
        """Return what is known of an ingest, without waiting for its writer."""
        with translated(f"looking at ingest {ref}"):
            return Ingest.of(self.ingests, ref).status()

    def statuses(self) -> Iterator[Status]:
        """Yield what is known of all ingests."""
        with translated("looking at the ingests"):
            yield from (status for ingest in Ingest.walk(self.ingests) if (status := ingest.status()))

    def abort(self, ref: str) -> None:
        """Drop an ingest that no process writes."""
        ingest = Ingest.of(self.ingests, ref)
        if ingest.folder.exists():
            with ingest.lock(ref, timeout=0):
                ingest.drop(self.trash)

    def tidy(self) -> None:
        """Finish what dead processes began: removals, replacements, ingests that never got, or lost, their data.

        Raises:
            StorageError: something could not be removed; the rest was.
        """
        self.tidy_names()
        for ingest in Ingest.walk(self.ingests):
            if not os.path.lexists(ingest.data):
                with suppress(UnavailableError), ingest.lock("", timeout=0):
                    if not os.path.lexists(ingest.data):
                        ingest.drop(self.trash)
        self.empty_trash()

    def tidy_names(self) -> None:
        """Remove what was about to replace ``index.json`` when its writer died.

        Raises:
            StorageError: it could not be removed.
        """
        with translated(f"tidying {self.root}"):
            remove_abandoned(self.root)

    def sweep_ingests(self, keep: Callable[[Status], bool], *, dry_run: bool = False) -> list[Status]:
        """Drop the ingests that no process writes and that ``keep`` does not want, asked while they are locked.

        Returns:
            What was dropped, or would have been.
        """
        gone = []
        for ingest in Ingest.walk(self.ingests):
            with suppress(UnavailableError), ingest.lock("", timeout=0), translated(f"looking at ingest {ingest.key}"):
                status = ingest.status()
                if status is None or keep(status):
                    continue
                if not dry_run:
                    ingest.drop(self.trash)
                gone.append(status)
        return gone
