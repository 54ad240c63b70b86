"""Garbage collection: what nothing leads to goes, what is in use stays, and a pull under way never notices.

    purge ended leases ─▶ survey ─▶ forget names ─▶ snapshots, children first ─▶ list blobs, survey again ─▶ blobs and
                                                    (each a transaction)         ingests to the trash ─▶ empty it
                                                                                 └────── one transaction ─────┘

Whoever uses something takes a lease *first* and looks for it *afterwards*. Blobs are decided on and moved out of sight
in one transaction, in which no lease can be taken; a snapshot that is leased after the survey is kept by the database
itself (``schema.py``). The slow part, giving the bytes back to the disk, happens after the transaction.

On a full disk even forgetting has to write a little first. So what can be given back without that goes at once, the
database's reserve (``reserve.py``) does for the beginning, and what was left for want of space is tried once more.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from prestow.cancellation import check
from prestow.content.info import Info, Status
from prestow.content.local import LocalStore
from prestow.errors import ExhaustedError, NotFoundError, PreconditionError, PrestowError
from prestow.gc.graph import Thing, blob, key
from prestow.gc.retention import Forgotten, Name, Retention, forgettable
from prestow.gc.survey import GRACE, Survey, disk_usage, last_used, survey
from prestow.metadata.containers import publish_containers
from prestow.metadata.database import Database, Row
from prestow.metadata.images import Images
from prestow.metadata.leases import Leases
from prestow.metadata.publish import changing_names, publish_names
from prestow.snapshots.maintained import Maintained

_FORGET_NOTHING = Retention()
UNHELD = "no name, container or lease leads to it"

Kind: TypeAlias = Literal["image", "generation", "snapshot", "blob", "ingest"]


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that went, or would have gone.

    Attributes:
        kind: what it was.
        name: a name, for an earlier target with its digest; a digest, ``driver/key``, or a ref.
        bytes: what that frees by itself.
        why: why it went.
    """

    kind: Kind
    name: str
    bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a collection did, or would have done.

    Attributes:
        removed: what went, in the order in which it did.
        left: what could not be removed, and why; the next collection tries again.
    """

    removed: tuple[Removed, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What was freed."""
        return sum(removed.bytes for removed in self.removed)

    def of(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of what went of one kind."""
        return tuple(removed.name for removed in self.removed if removed.kind == kind)


@dataclass(frozen=True, slots=True)
class Rules:
    """How to collect.

    Attributes:
        retention: which names are forgotten.
        grace: seconds for which what is unfinished is kept.
        unfinished: do not wait so long with what stopped, failed and killed work left to be gone on with.
        dry_run: only tell what would go.
        clock: the wall clock, for ages.
    """

    retention: Retention = _FORGET_NOTHING
    grace: float = GRACE
    unfinished: bool = False
    dry_run: bool = False
    clock: Callable[[], float] = time.time


def sweep(db: Database, content: LocalStore, snapshotters: Sequence[Maintained] = (), rules: Rules = Rules()) -> Swept:
    """Collect the garbage of a store.

    Args:
        db: its names.
        content: its blobs.
        snapshotters: its drivers; snapshots of others stay, with all below.
        rules: what else goes, and what is too young to go.

    Raises:
        PreconditionError: a document of a named image is damaged or missing; nothing was removed.
        StorageError: the disk or the database failed.
        CancelledError: the work that this is part of is to end; what is left goes with the next one.
    """
    drivers = {snapshotter.driver: snapshotter for snapshotter in snapshotters}
    first = _Collection(db, content, drivers, rules)
    swept = first.run()
    if not first.short or rules.dry_run or not swept.bytes:
        return swept
    again = _Collection(db, content, drivers, rules).run()
    return Swept(swept.removed + again.removed, again.left)


@dataclass(slots=True)
class _Collection:
    """One run.

    Attributes:
        left: what could not be removed, and why.
        short: whether that was for want of space.
        given_up: leases that keep nothing any more, and the ingests and keys of snapshots that they kept.
    """

    db: Database
    content: LocalStore
    drivers: Mapping[str, Maintained]
    rules: Rules
    left: dict[Thing, str] = field(default_factory=dict)
    short: bool = False
    given_up: set[Thing] = field(default_factory=set)

    def run(self) -> Swept:
        """Collect, in the order that the module draws."""
        if not self.rules.dry_run:
            self._make_room()
        if self.rules.unfinished:
            self._give_up()
        with self.db.transaction():  # no name that is followed goes meanwhile, with its documents
            seen = self._survey()
            forgotten = self._forget(seen)
        without = {gone.name.thing for gone in forgotten}
        snapshots = self._snapshots(seen, seen.holds.reachable(without))
        with self.db.transaction():
            garbage = list(self.content.walk())  # before the survey: a blob that comes later may be held from then on
            kept = self._kept(without, snapshots.keys())
            blobs = self._blobs([found for found in garbage if blob(found.digest) not in kept])
            ingests = self.content.sweep_ingests(self._wanted(kept), dry_run=self.rules.dry_run)
        if not self.rules.dry_run:
            self._finish()
        names = [Removed(_kind(gone.name), gone.name.thing.name, 0, gone.why) for gone in forgotten]
        stale = [Removed("ingest", each.ref, each.offset, self._why_stale(each)) for each in ingests]
        return Swept((*names, *snapshots.values(), *blobs, *stale), tuple(self.left.values()))

    def _make_room(self) -> None:
        """Free what costs no transaction; then forget the leases that have ended, if there is room for that."""
        self.db.make_room()
        with suppress(PrestowError):
            self.content.empty_trash()
        with suppress(ExhaustedError):
            Leases(self.db, self.rules.clock).purge()

    def _give_up(self) -> None:
        """End the leases of work that was stopped or died, and note what waited under them."""
        leases = Leases(self.db, self.rules.clock)
        with suppress(ExhaustedError):
            for lease in leases.abandoned():
                held = leases.resources(lease)
                self.given_up |= {Thing("lease", lease), *(Thing("ingest", ref) for ref in held["ingest"])}
                self.given_up |= {key(name) for name in held["snapshot"]}
                if not self.rules.dry_run:
                    leases.delete(lease)

    def _survey(self) -> Survey:
        clock, grace = self.rules.clock, self.rules.grace
        seen = survey(self.db, self.content, self.drivers, self.given_up, clock=clock, grace=grace)
        if seen.holds.broken:
            raise PreconditionError(f"{seen.holds.broken[0]}; nothing was removed: make it whole, or remove its name")
        return seen

    def _forget(self, seen: Survey) -> list[Forgotten]:
        """Forget what the rules forget, unless it was used since, and give that."""
        disk = partial(disk_usage, seen, self.content, self.drivers)
        chosen = forgettable(seen.names, self.rules.retention, self.rules.clock(), seen.holds, disk)
        if self.rules.dry_run or not chosen:
            return chosen
        with changing_names(self.db, self.content):
            return [each for each in chosen if _forget(self.db, each.name)]

    def _snapshots(self, seen: Survey, kept: set[Thing]) -> dict[Thing, Removed]:
        """Remove the snapshots that nothing uses, and give what they were."""
        gone: dict[Thing, Removed] = {}
        stuck: set[Thing] = set()
        for thing in sorted(seen.snapshots.keys() - kept, key=lambda each: (-len(seen.chain(each)), each)):
            check()
            if thing not in stuck:
                with self._listing(thing, f"snapshot {thing.name}"):
                    gone |= self._remove(thing, seen.snapshots[thing])
                if thing in self.left:
                    stuck |= set(seen.chain(thing))
        return gone

    def _remove(self, thing: Thing, row: Row) -> dict[Thing, Removed]:
        """Remove a snapshot and return what it was; nothing if a process began to use it after the survey."""
        driver = self.drivers[row["driver"]]
        removed = Removed("snapshot", thing.name, driver.usage(row["key"]).bytes, UNHELD)
        driver.refuse_mounted(row["key"])
        if not self.rules.dry_run:
            try:
                driver.remove(row["key"])
            except PreconditionError:  # it is leased, or has a child
                return {}
        return {thing: removed}

    def _kept(self, without: AbstractSet[Thing], gone: AbstractSet[Thing]) -> set[Thing]:
        """Look again, and tell what stays now: a snapshot among that was not to be removed, if it could not be."""
        seen = self._survey()
        kept = seen.holds.reachable(without)
        self.left = {thing: why for thing, why in self.left.items() if thing not in kept}
        seen.holds.reach(seen.snapshots.keys() - gone, kept)  # the layers of what is still there
        return kept

    def _blobs(self, garbage: Sequence[Info]) -> list[Removed]:
        """Move blobs into the trash, and give what they were."""
        discarded = []
        for found in garbage:
            with self._listing(blob(found.digest), f"blob {found.digest}"):
                if not self.rules.dry_run:
                    self.content.discard(found.digest)
                discarded.append(Removed("blob", found.digest, found.freed, _why_gone(found)))
        return discarded

    def _wanted(self, kept: set[Thing]) -> Callable[[Status], bool]:
        """Return the test whether an ingest will be gone on with; it may have grown since the survey."""
        young = self.rules.clock() - self.rules.grace
        stale = self.given_up
        return lambda status: (
            (thing := Thing("ingest", status.ref)) in kept or (status.updated_at > young and thing not in stale)
        )

    def _why_stale(self, ingest: Status) -> str:
        return "it was given up" if Thing("ingest", ingest.ref) in self.given_up else "not resumed in time"

    def _finish(self) -> None:
        """Return the bytes to the disk, and then bring the files up to date that a full disk may have kept back."""
        with self._listing(Thing("blob", ""), "trash"):
            self.content.empty_trash()
        with self._listing(Thing("image", ""), "index.json"):
            publish_names(self.db, self.content)
            with self.db.transaction():
                publish_containers(self.db)
            self.content.tidy_names()
        self.db.fill_reserve()

    @contextmanager
    def _listing(self, thing: Thing, what: str) -> Iterator[None]:
        """Go on with the next thing if one cannot be removed; what is gone already needs no word."""
        try:
            yield
        except NotFoundError:
            pass
        except PrestowError as error:
            self.left[thing] = f"{what}: {error}"
            self.short = self.short or isinstance(error, ExhaustedError)


def _why_gone(found: Info) -> str:
    return (
        f"{UNHELD}; there is another hard link to it, a container runtime's, so this frees nothing"
        if found.shared
        else UNHELD
    )


def _kind(name: Name) -> Kind:
    return "generation" if name.earlier else "image"


def _forget(db: Database, name: Name) -> bool:
    """Forget a name, or an earlier target of one, within a transaction; False if it was used since."""
    if name.earlier:
        sql = "DELETE FROM generations WHERE namespace = ? AND name = ? AND digest = ? RETURNING name"
        return bool(db.read(sql, (name.namespace, name.name, name.target.digest)))
    images = Images(db, name.namespace)
    with suppress(NotFoundError):
        if last_used(images.get(name.name)) == name.used_at:
            images.remove(name.name)
            return True
    return False
