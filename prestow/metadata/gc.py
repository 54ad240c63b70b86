"""Garbage collection: what nothing leads to goes, what is in use stays, and a pull under way never notices.

    purge ended leases ─▶ mark ─▶ snapshots, children first ─▶ mark again ─▶ blobs and ingests to the trash ─▶ empty it
                                  (each a transaction)         └──────── one transaction ────────┘

Whoever uses something takes a lease *first* and looks for it *afterwards*. Blobs are decided on and moved out of sight
in one transaction, in which no lease can be taken; a snapshot that is leased after the mark is kept by the database
itself (``schema.py``). The slow part, giving the bytes back to the disk, happens after the transaction.

Kept besides what is marked: snapshots that a person named, what is below a snapshot that stays, the layers of those,
and whatever is younger than ``grace`` among ingests and among snapshots of containers that were not finished.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from prestow.content.layout_index import remove_leftovers
from prestow.content.local import LocalStore
from prestow.content.store import Info, Status
from prestow.digest import Digest
from prestow.errors import NotFoundError, PrestowError
from prestow.metadata.containers import Containers
from prestow.metadata.database import Database, Row
from prestow.metadata.images import Images
from prestow.metadata.leases import Leases
from prestow.metadata.mark import Marked, mark
from prestow.metadata.tag import publish_names

GRACE = 7 * 24 * 3600.0
"""Seconds for which an unfinished download, or the snapshot of an unfinished container, waits to be gone on with."""


class Snapshots(Protocol):
    """What the garbage collection needs of a snapshotter."""

    @property
    def driver(self) -> str:
        """Name of the kind."""

    def remove(self, key: str) -> None:
        """Remove a snapshot; PreconditionError if it has children, is mounted or is leased."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What went, or would have gone.

    Attributes:
        blobs: digests and sizes.
        snapshots: drivers and keys.
        ingests: refs.
        bytes: size of the blobs and ingests.
        left: what could not be removed, and why; the next collection tries again.
    """

    blobs: tuple[tuple[Digest, int], ...]
    snapshots: tuple[tuple[str, str], ...]
    ingests: tuple[str, ...]
    bytes: int
    left: tuple[str, ...] = ()


def sweep(
    db: Database,
    content: LocalStore,
    snapshotters: Sequence[Snapshots] = (),
    *,
    clock: Callable[[], float] = time.time,
    dry_run: bool = False,
    grace: float = GRACE,
) -> Swept:
    """Collect the garbage of a store.

    Args:
        db: its names.
        content: its blobs.
        snapshotters: its drivers; snapshots of others stay, with all below.
        clock: the wall clock, for ages.
        dry_run: only tell what would go.
        grace: seconds for which what is unfinished is kept.

    Raises:
        PreconditionError: a document of a named image is damaged or missing; nothing was removed.
        StorageError: the disk or the database failed.
    """
    collection = _Collection(db, content, Leases(db, clock), clock, dry_run, grace)
    return collection.run({snapshotter.driver: snapshotter for snapshotter in snapshotters})


@dataclass(frozen=True, slots=True)
class _Collection:
    """One run."""

    db: Database
    content: LocalStore
    leases: Leases
    clock: Callable[[], float]
    dry_run: bool
    grace: float

    def run(self, drivers: dict[str, Snapshots]) -> Swept:
        """Collect, in the order that the module draws."""
        left: list[str] = []
        if not self.dry_run:
            self.db.make_room()
            self.leases.purge()
        snapshots = self._snapshots(drivers, left)
        with self.db.transaction():
            blobs = self._blobs(set(snapshots), left)
            ingests = self.content.sweep_ingests(self._wanted(), dry_run=self.dry_run)
        if not self.dry_run:
            self._finish(left)
        freed = sum(blob.size for blob in blobs) + sum(ingest.offset for ingest in ingests)
        return Swept(
            tuple((blob.digest, blob.size) for blob in blobs),
            tuple(snapshots),
            tuple(ingest.ref for ingest in ingests),
            freed,
            tuple(left),
        )

    def _mark(self) -> Marked:
        return mark(Images(self.db), Containers(self.db), self.leases, self.content)

    def _snapshots(self, drivers: dict[str, Snapshots], left: list[str]) -> list[tuple[str, str]]:
        """Remove the snapshots that nothing uses, and give their drivers and keys."""
        gone = []
        with self.db.transaction():  # no name that is followed goes meanwhile, with its documents
            unused = self._unused(drivers.keys())
        for driver, key in unused:
            with _listing(left, f"snapshot {driver}/{key}"):
                if not self.dry_run:
                    drivers[driver].remove(key)
                gone.append((driver, key))
        return gone

    def _unused(self, drivers: AbstractSet[str]) -> list[tuple[str, str]]:
        """Tell which snapshots nothing uses, children before parents."""
        rows = {(row["driver"], row["key"]): row for row in self.db.read("SELECT * FROM snapshots")}
        in_use = self._in_use()
        used: set[tuple[str, str]] = set()
        for name, row in rows.items():
            if row["driver"] not in drivers or in_use(row):
                used.update(_chain(rows, name))
        return sorted(rows.keys() - used, key=lambda name: (-len(_chain(rows, name)), name))

    def _in_use(self) -> Callable[[Row], bool]:
        """Give the test whether a snapshot is used for its own sake."""
        chains = self._mark().chains
        leased = self.leases.held("snapshot")
        containers = {(container.driver, container.snapshot_key) for container in Containers(self.db).every()}
        young = self.clock() - self.grace

        def in_use(row: Row) -> bool:
            if row["key"] in leased or (row["driver"], row["key"]) in containers:
                return True
            if row["kind"] == "committed":
                return row["key"] in chains or not _is_digest(row["key"])
            return bool(row["created_at"] > young)

        return in_use

    def _blobs(self, gone: set[tuple[str, str]], left: list[str]) -> list[Info]:
        """Move the blobs that nothing leads to into the trash, and give what they were."""
        rows = self.db.read("SELECT driver, key, diff_id FROM snapshots WHERE diff_id IS NOT NULL")
        keep = self._mark().blobs | {row["diff_id"] for row in rows if (row["driver"], row["key"]) not in gone}
        discarded = []
        for blob in [blob for blob in self.content.walk() if blob.digest not in keep]:
            with _listing(left, f"blob {blob.digest}"):
                if not self.dry_run:
                    self.content.discard(blob.digest)
                discarded.append(blob)
        return discarded

    def _wanted(self) -> Callable[[Status], bool]:
        """Give the test whether an ingest will be gone on with."""
        leased = self.leases.held("ingest")
        young = self.clock() - self.grace
        return lambda status: status.ref in leased or status.updated_at > young

    def _finish(self, left: list[str]) -> None:
        """Give the bytes back to the disk, and then bring the names up to date that a full disk may have kept back."""
        with _listing(left, "trash"):
            self.content.empty_trash()
        with _listing(left, "index.json"), self.db.transaction():
            publish_names(self.db, self.content)
            remove_leftovers(self.content.root)
        self.db.fill_reserve()


def _chain(rows: Mapping[tuple[str, str], Row], name: tuple[str, str]) -> list[tuple[str, str]]:
    """Give a snapshot and all below it."""
    chain = []
    at = name
    while at in rows:
        chain.append(at)
        at = (at[0], rows[at]["parent"])
    return chain


def _is_digest(key: str) -> bool:
    """Whether a snapshot's key is a chain ID, so that it can be made again, and not a name that a person gave."""
    try:
        Digest.parse(key)
    except PrestowError:
        return False
    return True


@contextmanager
def _listing(left: list[str], what: str) -> Iterator[None]:
    """Go on with the next thing if one cannot be removed; what is gone already needs no word."""
    try:
        yield
    except NotFoundError:
        pass
    except PrestowError as error:
        left.append(f"{what}: {error}")
