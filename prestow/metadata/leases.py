"""Leases: what a process uses before it has a name, safe from the garbage collection until an end.

    create ──▶ add(content | ingest | snapshot) … ─┬▶ delete, when a name or a container holds the result
                                                   ├▶ leave, when it is to be gone on with later ─▶ expires
                                                   ├▶ pin, when it is to last until it is deleted
                                                   └▶ expires, when its process has died

Take the lease first, and look for the thing afterwards: the garbage collection decides in one transaction, so what is
still there once ``add`` has returned will stay. A lease lasts as long as the process that took it, however long that
works, so that it need not be renewed. From the death of the process, or from ``leave``, the clock of the boot decides,
which cannot be set; only after a reboot does the wall clock.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prestow.content.process_identity import Process, random_hex, uptime
from prestow.errors import NotFoundError, printable
from prestow.metadata.database import Database, Row
from prestow.metadata.namespace import DEFAULT
from prestow.oci.descriptor import Descriptor, parse_descriptor

Kind: TypeAlias = Literal["content", "ingest", "snapshot"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease.

    Attributes:
        id: its name.
        namespace: of whom took it.
        owner: who took it, for people, and for whoever goes on with the same work.
        created_at: seconds since the epoch.
        expires_at: when it ends, if the clock is not set meanwhile and its process does not live longer.
        pid: number of the process that works under it; None if that has ended, or has left it.
    """

    id: str
    namespace: str
    owner: str
    created_at: float
    expires_at: float
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """An image that will take room on the disk.

    Attributes:
        manifest: its manifest, which is in the content store.
        driver: the snapshotter that will have it.
        at_once: how many of its blobs there will be at the same time, at most.
    """

    manifest: Descriptor
    driver: str
    at_once: int


class Leases:
    """The leases in a metadata database."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float] = time.time,
        *,
        namespace: str = DEFAULT,
        since_boot: Callable[[], float] = uptime,
        process: Process | None = None,
    ) -> None:
        """Look into ``db``.

        Args:
            db: the database.
            clock: the wall clock.
            namespace: whose leases are made here; those of all are listed, and held.
            since_boot: the clock that cannot be set.
            process: who takes leases, in the boot that this clock counts from; this one if not given.
        """
        self._db = db
        self._clock = clock
        self._namespace = namespace
        self._since_boot = since_boot
        self._process = process

    def create(self, owner: str, ttl_seconds: float) -> Lease:
        """Take a lease that holds nothing yet.

        Args:
            owner: who takes it, for people.
            ttl_seconds: how long it lasts at least, unless it is deleted.
        """
        now, process = self._clock(), self._current()
        lease = Lease(random_hex(8), self._namespace, owner, now, now + ttl_seconds, process.pid)
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO leases (id, namespace, owner, created_at, expires_at, boot_id, ends_at, pid, started,"
                " pid_namespace) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(lease.id, lease.namespace, owner, now, lease.expires_at),
                    *(process.boot_id, self._since_boot() + ttl_seconds, process.pid, process.started),
                    process.namespace,
                ),
            )
        return lease

    @contextmanager
    def during(self, owner: str, ttl_seconds: float) -> Iterator[str]:
        """Hold a lease for a block, and give its ID.

        What a killed process leaves of it ends so many seconds later, or when the same owner came through.
        """
        lease = self.create(owner, ttl_seconds)
        try:
            yield lease.id
        finally:
            self.delete(lease.id)
        self.delete_unfinished(owner)

    @contextmanager
    def unfinished(self, owner: str, patience: float) -> Iterator[str]:
        """Hold a lease for work that can be gone on with, and give its ID.

        When the block ends well, what earlier tries of the same owner hold goes too. When it ends in any other way,
        what it has waits ``patience`` seconds for the next try.
        """
        lease = self.create(owner, patience)
        try:
            yield lease.id
        except BaseException:
            self.leave(lease.id, patience)
            raise
        self.delete(lease.id)
        self.delete_unfinished(owner)

    def leave(self, lease_id: str, ttl_seconds: float) -> None:
        """Let a lease last for so long from now on, whether its process lives or not: the work waits; success if ended.

        Args:
            lease_id: the lease.
            ttl_seconds: how long.
        """
        with self._db.transaction() as cursor:
            cursor.execute(
                "UPDATE leases SET expires_at = ?, boot_id = ?, ends_at = ?, pid = NULL, started = NULL WHERE id = ?",
                (
                    *(self._clock() + ttl_seconds, self._current().boot_id),
                    *(self._since_boot() + ttl_seconds, lease_id),
                ),
            )

    def pin(self, lease_id: str) -> None:
        """Let a lease last until it is deleted, whether its process lives or not; success if it has ended."""
        self.leave(lease_id, math.inf)

    def add(self, lease_id: str, kind: Kind, keys: Iterable[str]) -> None:
        """Hold things, whether they are there yet or not.

        Args:
            lease_id: the lease.
            kind: what the keys are: digests of blobs, refs of ingests, or keys (chain IDs) of snapshots.
            keys: their names.

        Raises:
            NotFoundError: the lease ended, or never was.
        """
        with self._db.transaction() as cursor:
            rows = self._db.read("SELECT * FROM leases WHERE id = ?", (lease_id,))
            if not any(self._lasts(row) for row in rows):
                raise NotFoundError(f"lease {printable(lease_id)} has ended; take another")
            cursor.executemany(
                "INSERT INTO lease_resources (lease, kind, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(lease_id, kind, str(key)) for key in keys],
            )

    def announce(self, lease_id: str, announced: Announcement) -> None:
        """Announce to others what the work under a lease will take of the disk, for as long as its process works."""
        row = (lease_id, json.dumps(announced.manifest.to_json()), announced.driver, announced.at_once)
        with self._db.transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO announcements VALUES (?, ?, ?, ?)", row)

    def announced(self, *, besides: str) -> tuple[Announcement, ...]:
        """Return what is announced by all who work under a lease, ``besides`` one lease."""
        rows = self._db.read(
            "SELECT * FROM leases JOIN announcements ON lease = id WHERE id != ? ORDER BY created_at, id", (besides,)
        )
        return tuple(
            Announcement(parse_descriptor(json.loads(row["manifest"]), "manifest"), row["driver"], row["at_once"])
            for row in rows
            if _works(row)
        )

    def delete(self, lease_id: str) -> None:
        """End a lease; success if it has ended."""
        with self._db.transaction() as cursor:
            cursor.execute("DELETE FROM leases WHERE id = ?", (lease_id,))

    def delete_unfinished(self, owner: str, *, within: str | None = None) -> None:
        """End the leases that earlier work of this owner left, on purpose or by dying: it is done now.

        Args:
            owner: the owner.
            within: a lease; those that hold something that it does not hold stay.
        """
        sql = "SELECT * FROM leases WHERE namespace = ? AND owner = ?"
        if not self._db.read(sql, (self._namespace, owner)):
            return
        with self._db.transaction() as cursor:
            rows = self._db.read(sql, (self._namespace, owner))
            left = [row["id"] for row in rows if _is_left(row)]
            if within is not None:
                left = [lease_id for lease_id in left if self._held(lease_id) <= self._held(within)]
            cursor.executemany("DELETE FROM leases WHERE id = ?", [(lease_id,) for lease_id in left])

    def abandoned(self) -> tuple[str, ...]:
        """Return the leases, of all namespaces, that work left which was stopped or died."""
        return tuple(row["id"] for row in self._db.read("SELECT * FROM leases") if _is_left(row))

    def list(self) -> tuple[Lease, ...]:
        """Return the leases that last, oldest first."""
        rows = self._db.read("SELECT * FROM leases ORDER BY created_at, id")
        return tuple(_lease(row) for row in rows if self._lasts(row))

    def resources(self, lease_id: str) -> dict[Kind, tuple[str, ...]]:
        """Return what a lease holds, by kind, sorted."""
        rows = self._db.read("SELECT kind, key FROM lease_resources WHERE lease = ? ORDER BY key", (lease_id,))
        kinds: tuple[Kind, ...] = ("content", "ingest", "snapshot")
        return {kind: tuple(row["key"] for row in rows if row["kind"] == kind) for kind in kinds}

    def _held(self, lease_id: str) -> set[tuple[str, str]]:
        rows = self._db.read("SELECT kind, key FROM lease_resources WHERE lease = ?", (lease_id,))
        return {(row["kind"], row["key"]) for row in rows}

    def remaining(self, lease: Lease) -> float:
        """Return the seconds that a lease lasts from now, if its process does not live longer."""
        rows = self._db.read("SELECT * FROM leases WHERE id = ?", (lease.id,))
        return max((self._left(row) for row in rows), default=0.0)

    def purge(self) -> None:
        """Forget the leases that have ended."""
        with self._db.transaction() as cursor:
            ended = [(row["id"],) for row in self._db.read("SELECT * FROM leases") if not self._lasts(row)]
            cursor.executemany("DELETE FROM leases WHERE id = ?", ended)

    def _lasts(self, row: Row) -> bool:
        return self._left(row) > 0 or _works(row)

    def _left(self, row: Row) -> float:
        boot = self._current().boot_id
        if boot and row["boot_id"] == boot:
            return float(row["ends_at"] - self._since_boot())
        return float(row["expires_at"] - self._clock())

    def _current(self) -> Process:
        return Process.current() if self._process is None else self._process


def _works(row: Row) -> bool:
    """Whether the process that took a lease still works under it."""
    return row["pid"] is not None and _process(row).alive()


def _is_left(row: Row) -> bool:
    """Whether no process works under a lease: it was left on purpose, or its process is known to have ended.

    One that is pinned waits for no process.
    """
    return not math.isinf(row["expires_at"]) and (row["pid"] is None or _process(row).ended())


def _process(row: Row) -> Process:
    known = Process(row["boot_id"], row["pid"], row["started"])
    return known if row["pid_namespace"] is None else known._replace(namespace=row["pid_namespace"])


def _lease(row: Row) -> Lease:
    pid = row["pid"] if _works(row) else None
    return Lease(row["id"], row["namespace"], row["owner"], row["created_at"], row["expires_at"], pid)
