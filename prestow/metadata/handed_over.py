"""Which images were handed over to which runtime of this host, under which names; so that it can be taken back.

A row is what we gave, never proof that the runtime still has it: the runtime is asked for that.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prestow.digest import Digest
from prestow.metadata.database import Database, Row
from prestow.metadata.namespace import DEFAULT


@dataclass(frozen=True, slots=True)
class HandedOver:
    """An image that a runtime was given.

    Attributes:
        namespace: whose name it is here.
        name: the image, as it is named here.
        runtime: its kind, ``containerd``.
        address: where it was reached.
        runtime_namespace: whose images it became there.
        digest: of the target.
        form: how its layers are kept there, ``linked`` or ``applied``; empty if the runtime had it, and not by us.
        snapshotter: that has them there.
        names: that stand for it there by us, in the order in which they were written; none if the runtime had it.
        pinned: whether we asked that its garbage collection leaves it.
        folders: where the runtime keeps what may be links to our files.
        at: when, in seconds since the epoch.
    """

    namespace: str
    name: str
    runtime: str
    address: str
    runtime_namespace: str
    digest: Digest
    form: str
    snapshotter: str
    names: tuple[str, ...]
    pinned: bool
    folders: tuple[Path, ...]
    at: float


class HandOvers:
    """The images of one namespace that were handed over, in a metadata database."""

    def __init__(self, db: Database, namespace: str = DEFAULT, *, clock: Callable[[], float] = time.time) -> None:
        """Look into ``db``."""
        self._db = db
        self._namespace = namespace
        self._clock = clock

    def put(  # noqa: PLR0913 - the columns
        self,
        name: str,
        runtime: str,
        address: str,
        runtime_namespace: str,
        *,
        digest: Digest,
        form: str,
        snapshotter: str,
        names: tuple[str, ...],
        pinned: bool,
        folders: tuple[Path, ...],
    ) -> None:
        """Note that a name was handed over; it takes the place of what was handed over under that name before."""
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO handed_over VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._namespace, name, runtime, address, runtime_namespace, str(digest), form, snapshotter,
                    json.dumps(names), pinned, json.dumps([str(folder) for folder in folders]), self._clock(),
                ),
            )  # fmt: skip

    def find(self, name: str, runtime: str, address: str, runtime_namespace: str) -> HandedOver | None:
        """Return what was handed over under a name; None if nothing was."""
        found = self._db.records(
            _handed_over,
            "SELECT * FROM handed_over WHERE namespace = ? AND name = ? AND runtime = ? AND address = ?"
            " AND runtime_namespace = ?",
            (self._namespace, name, runtime, address, runtime_namespace),
        )
        return found[0] if found else None

    def list(self) -> tuple[HandedOver, ...]:
        """Return what was handed over of this namespace, sorted by name."""
        return tuple(each for each in self.every() if each.namespace == self._namespace)

    def every(self) -> tuple[HandedOver, ...]:
        """Return what was handed over of all namespaces, sorted."""
        sql = "SELECT * FROM handed_over ORDER BY namespace, name, runtime, address, runtime_namespace"
        return tuple(self._db.records(_handed_over, sql))

    def drop(self, handed_over: HandedOver) -> None:
        """Forget that something was handed over; success if it is not known."""
        with self._db.transaction() as cursor:
            cursor.execute(
                "DELETE FROM handed_over WHERE namespace = ? AND name = ? AND runtime = ? AND address = ?"
                " AND runtime_namespace = ?",
                (
                    handed_over.namespace, handed_over.name, handed_over.runtime, handed_over.address,
                    handed_over.runtime_namespace,
                ),
            )  # fmt: skip


def _handed_over(row: Row) -> HandedOver:
    return HandedOver(
        row["namespace"], row["name"], row["runtime"], row["address"], row["runtime_namespace"],
        Digest.parse(row["digest"]), row["form"], row["snapshotter"], tuple(json.loads(row["names"])),
        bool(row["pinned"]), tuple(map(Path, json.loads(row["directories"]))), row["at"],
    )  # fmt: skip
