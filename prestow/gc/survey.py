"""A look at the whole store: who holds what at this moment, and which names the rules of retention may forget.

Kept besides what names, containers and leases lead to: snapshots that a person named or podman shows, what is below a
snapshot that stays, the layers of those, and whatever is younger than ``grace`` among ingests and among snapshots of
containers that were not finished.
"""

import math
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import PrestowError, printable
from prestow.gc.graph import Holds, Thing, blob, key, snapshot
from prestow.gc.mark import Marker
from prestow.gc.retention import KEEP, Disk, Name, duration
from prestow.handover.podman.shown import STEM as SHOWN
from prestow.metadata.container_files import read_containers
from prestow.metadata.containers import Containers
from prestow.metadata.database import Database, Row
from prestow.metadata.failure import damaged
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.leases import Lease, Leases
from prestow.metadata.namespace import DEFAULT
from prestow.metadata.sets import Sets
from prestow.metadata.soundness import require_sound
from prestow.oci.descriptor import Descriptor
from prestow.snapshots.maintained import Maintained

GRACE = 7 * 24 * 3600.0
"""Seconds for which an unfinished download, or the snapshot of an unfinished container, waits to be gone on with."""

Rows: TypeAlias = dict[Thing, Row]


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen.

    Attributes:
        holds: who holds what.
        names: the names, and what they stood for before.
        snapshots: the rows of all snapshots.
    """

    holds: Holds
    names: tuple[Name, ...]
    snapshots: Rows

    def chain(self, thing: Thing) -> list[Thing]:
        """Return a snapshot and all below it."""
        line = []
        while thing in self.snapshots:
            line.append(thing)
            row = self.snapshots[thing]
            thing = snapshot(row["driver"], row["parent"] or "")
        return line


def survey(
    db: Database,
    content: LocalStore,
    drivers: Collection[str],
    given_up: Collection[Thing] = (),
    *,
    clock: Callable[[], float] = time.time,
    grace: float = GRACE,
) -> Survey:
    """Look at a store; snapshots of other than the given drivers stay, with all below.

    Leases that are ``given_up`` keep nothing, and ingests and snapshots (by key) that are, are not kept for their age.
    """
    require_sound(db)
    rows = {snapshot(row["driver"], row["key"]): row for row in db.read("SELECT * FROM snapshots")}
    marker = Marker(content, Holds())
    names = _names(db, marker)
    _containers(db, marker)
    leases = Leases(db, clock)
    for lease in leases.list():
        if Thing("lease", lease.id) not in given_up:
            _lease(leases, lease, marker)
    _snapshots(rows, marker.holds, drivers, given_up, clock() - grace)
    for status in content.statuses():
        thing = Thing("ingest", status.ref)
        if (left := status.updated_at + grace - clock()) > 0 and thing not in given_up:
            marker.holds.root(thing, f"resumable for another {duration(left)}")
    return Survey(marker.holds, names, rows)


def disk_usage(seen: Survey, content: LocalStore, drivers: Mapping[str, Maintained]) -> Disk:
    """Return how full the store's disk is, and what of the store takes how much."""
    found = list(content.walk())
    sizes = {blob(each.digest): each.freed for each in found}
    shared = {blob(each.digest): each.size for each in found if each.shared}
    sizes |= {Thing("ingest", status.ref): status.offset for status in content.statuses()}
    for thing, row in seen.snapshots.items():
        with suppress(KeyError, PrestowError):
            sizes[thing] = drivers[row["driver"]].usage(row["key"]).bytes
    disk = os.statvfs(content.root)
    used = disk.f_blocks - disk.f_bfree
    return Disk(used * disk.f_frsize, (used + disk.f_bavail) * disk.f_frsize, sizes, shared)


def title(namespace: str, name: str) -> str:
    """Return a name as people see it, and as it is unique in a store."""
    return printable(name) if namespace == DEFAULT else f"{printable(name)} (namespace {namespace})"


def last_used(image: ImageRecord) -> float:
    """Return when a name was last pulled, or used for a bundle."""
    return max(image.used_at or 0.0, image.updated_at)


def _names(db: Database, marker: Marker) -> tuple[Name, ...]:
    used = {(container.namespace, container.image): container.id for container in Containers(db).every()}
    pinned = {(each.namespace, each.name, each.digest) for each in Sets(db).every() if each.lease is not None}
    names = []
    for image in Images(db).every():
        shown = title(image.namespace, image.name)
        thing = marker.holds.root(Thing("image", shown), f"image {shown}")
        marker.follow(thing, image.target.digest, image.target)
        container = used.get((image.namespace, image.name))
        kept = f"container {printable(container)} is made of it" if container is not None else ""
        if (image.namespace, image.name, image.target.digest) in pinned:
            kept = "an image set of the fleet has it"
        if image.labels.get(KEEP) == "true":
            kept = f"it has the label {KEEP}=true"
        names.append(Name(thing, image.namespace, image.name, image.target, last_used(image), kept))
    for row in db.read("SELECT * FROM generations ORDER BY namespace, name, replaced_at"):
        target = Descriptor(row["media_type"], Digest.parse(row["digest"]), row["size"])
        shown = f"{title(row['namespace'], row['name'])} {target.digest}"
        thing = marker.holds.root(Thing("generation", shown), f"generation {shown}")
        marker.hold(thing, [target.digest])
        names.append(Name(thing, row["namespace"], row["name"], target, row["replaced_at"]))
    return tuple(names)


def _containers(db: Database, marker: Marker) -> None:
    told = {(each.namespace, each.id): each for each in read_containers(db.path.parent).records}
    for container in Containers(db).every():
        shown = title(container.namespace, container.id)
        root = marker.holds.root(Thing("container", shown), f"container {shown}")
        other = told.get((container.namespace, container.id), container)
        if other != container and other.created_at == container.created_at:  # what it wrote exists once
            raise damaged(db.path, f"container {shown} is not what the files in containers say")
        marker.holds.add(root, [snapshot(container.driver, container.snapshot_key)])
        marker.follow(root, container.manifest_digest, None)


def _lease(leases: Leases, lease: Lease, marker: Marker) -> None:
    remaining = leases.remaining(lease)
    lasts = "until it is dropped" if math.isinf(remaining) else f"{duration(remaining)} left"
    works = f"process {lease.pid} works" if lease.pid else lasts
    root = marker.holds.root(Thing("lease", lease.id), f"lease {lease.id} of {printable(lease.owner)}, {works}")
    held = leases.resources(lease.id)
    marker.holds.add(root, [Thing("ingest", ref) for ref in held["ingest"]])
    marker.holds.add(root, [key(name) for name in held["snapshot"]])
    marker.hold(root, held["content"])


def _snapshots(rows: Rows, holds: Holds, drivers: Collection[str], given_up: Collection[Thing], young: float) -> None:
    known = holds.reachable() | {
        snapshot(row["driver"], row["key"]) for row in rows.values() if key(row["key"]) in given_up
    }
    for thing, row in rows.items():
        holds.add(key(row["key"]), [thing])
        if row["parent"] is not None:
            holds.add(thing, [snapshot(row["driver"], row["parent"])])
        if row["diff_id"] is not None:
            holds.add(thing, [blob(Digest(row["diff_id"]))], "diff blob")
        if row["driver"] not in drivers:
            holds.root(thing, f"snapshot of driver {row['driver']}, which is not at hand")
        elif row["key"].startswith(SHOWN):
            holds.root(thing, "podman has it; `prestow hand-over --undo` takes it back")
        elif row["kind"] != "committed" and row["created_at"] > young and thing not in known:
            holds.root(thing, "snapshot of a container that may be unfinished: it is young")
        elif row["kind"] == "committed" and not _is_digest(row["key"]):
            holds.root(thing, "snapshot that a person named")


def _is_digest(text: str) -> bool:
    """Whether a snapshot's key is a chain ID, so that it can be made again, and not a name that a person gave."""
    try:
        Digest.parse(text)
    except PrestowError:
        return False
    return True
