"""Leases: what somebody uses who cannot name it yet, safe from the garbage collection until an end.

    create ──▶ add(content | ingest | snapshot) … ──▶ delete, when a name or a container holds the result
                                                 └──▶ expires, when the holder died

Take the lease first, and look for the thing afterwards: the garbage collection decides in one transaction, so what is
still there once ``add`` has returned will stay. A lease is kept by the clock of the boot, which cannot be set; only
after a reboot does the wall clock decide.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prestow.content.boot import boot_id, uptime
from prestow.errors import NotFoundError, printable
from prestow.metadata.database import Database, Row
from prestow.namespace import DEFAULT

Kind: TypeAlias = Literal["content", "ingest", "snapshot"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease.

    Attributes:
        id: its name.
        namespace: of whom took it.
        owner: who took it, for people.
        created_at: seconds since the epoch.
        expires_at: when it ends, if the clock is not set meanwhile.
    """

    id: str
    namespace: str
    owner: str
    created_at: float
    expires_at: float


class Leases:
    """The leases in a metadata database."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], float] = time.time,
        *,
        namespace: str = DEFAULT,
        since_boot: Callable[[], float] = uptime,
        boot: str | None = None,
    ) -> None:
        """Look into ``db``.

        Args:
            db: the database.
            clock: the wall clock.
            namespace: whose leases are made here; those of all are listed, and held.
            since_boot: the clock that cannot be set.
            boot: name of the boot that it counts from; this one's if not given.
        """
        self._db = db
        self._clock = clock
        self._namespace = namespace
        self._since_boot = since_boot
        self._boot = boot_id() if boot is None else boot

    def create(self, owner: str, ttl_seconds: float) -> Lease:
        """Take a lease that holds nothing yet.

        Args:
            owner: who takes it, for people.
            ttl_seconds: how long it lasts if nobody deletes or renews it.
        """
        now = self._clock()
        lease = Lease(secrets.token_hex(8), self._namespace, owner, now, now + ttl_seconds)
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO leases (id, namespace, owner, created_at, expires_at, boot_id, ends_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (lease.id, lease.namespace, owner, now, lease.expires_at, self._boot, self._since_boot() + ttl_seconds),
            )
        return lease

    def renew(self, lease_id: str, ttl_seconds: float) -> None:
        """Let a lease last from now on.

        Raises:
            NotFoundError: it ended, or never was; what it held may be gone.
        """
        with self._db.transaction() as cursor:
            self._check(lease_id)
            cursor.execute(
                "UPDATE leases SET expires_at = ?, boot_id = ?, ends_at = ? WHERE id = ?",
                (self._clock() + ttl_seconds, self._boot, self._since_boot() + ttl_seconds, lease_id),
            )

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
            self._check(lease_id)
            cursor.executemany(
                "INSERT INTO lease_resources (lease, kind, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(lease_id, kind, str(key)) for key in keys],
            )

    def delete(self, lease_id: str) -> None:
        """End a lease; success if it has ended."""
        with self._db.transaction() as cursor:
            cursor.execute("DELETE FROM leases WHERE id = ?", (lease_id,))

    def list(self) -> tuple[Lease, ...]:
        """Give the leases that last, oldest first."""
        rows = self._db.read("SELECT * FROM leases ORDER BY created_at, id")
        return tuple(
            Lease(row["id"], row["namespace"], row["owner"], row["created_at"], row["expires_at"])
            for row in rows
            if self._lasts(row)
        )

    def held(self, kind: Kind) -> set[str]:
        """Give the keys of one kind that leases hold."""
        rows = self._db.read("SELECT * FROM lease_resources JOIN leases ON id = lease WHERE kind = ?", (kind,))
        return {row["key"] for row in rows if self._lasts(row)}

    def purge(self) -> None:
        """Forget the leases that have ended."""
        with self._db.transaction() as cursor:
            ended = [(row["id"],) for row in self._db.read("SELECT * FROM leases") if not self._lasts(row)]
            cursor.executemany("DELETE FROM leases WHERE id = ?", ended)

    def _lasts(self, row: Row) -> bool:
        if self._boot and row["boot_id"] == self._boot:
            return bool(row["ends_at"] > self._since_boot())
        return bool(row["expires_at"] > self._clock())

    def _check(self, lease_id: str) -> None:
        rows = self._db.read("SELECT * FROM leases WHERE id = ?", (lease_id,))
        if not any(self._lasts(row) for row in rows):
            raise NotFoundError(f"lease {printable(lease_id)} has ended; take another")
