"""Why something is still here: every way that leads to it from a name, a container or a lease; or that nothing does.

    image docker.io/library/alpine:3.20 ─▶ index ─▶ manifest ─▶ config ─▶ diff blob

It reads the graph that the garbage collection reads, with the host's rules of retention, so it tells what the next
``prune`` would do.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prestow.errors import InvalidError, NotFoundError, PrestowError, printable
from prestow.gc.collect import UNHELD
from prestow.gc.graph import Thing
from prestow.gc.prune import rules
from prestow.gc.retention import Disk, forgettable
from prestow.gc.survey import Survey, disk_usage, survey, title
from prestow.metadata.leases import Lease
from prestow.reference import image_name
from prestow.snapshots.maintained import Maintained
from prestow.store.node import Node

_PREFIX = re.compile(r"(?:(?:sha256|sha512):)?[0-9a-f]{4,128}", re.ASCII)
_SHOWN = 5
_OWNED = frozenset({"image", "container"})
"""Kinds whose names are each namespace's own; those of others are told with the namespace, and found so."""


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a way.

    Attributes:
        kind: ``image``, ``generation``, ``container``, ``lease``, ``blob``, ``snapshot`` or ``ingest``; of a blob, what
            it is to the one before: ``index``, ``manifest``, ``config``, ``layer`` or ``diff blob``.
        name: its name.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is kept.

    Attributes:
        why: what begins the way, and a word about it.
        way: from there to the thing itself.
    """

    why: str
    way: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one thing.

    Attributes:
        kind: as of a link.
        name: its name.
        bytes: what it takes by itself; None for what is not here, or takes nothing.
        shared: whether a runtime has a link to it, so that its removal frees nothing.
        kept: whether the next prune leaves it.
        reasons: why it does, the shortest way first.
        removal: why it does not; empty if it does.
    """

    kind: str
    name: str
    bytes: int | None
    shared: bool
    kept: bool
    reasons: tuple[Reason, ...]
    removal: str


def explain(node: Node, text: str) -> list[Explanation]:
    """Explain what a text names: an image, container, snapshot, ingest, lease, or a digest or the beginning of one.

    An image that is not here yet, since its pull goes on or was broken off, is told by the lease of that pull.

    Raises:
        NotFoundError: nothing in the store bears the name.
        InvalidError: several digests begin so.
    """
    drivers = {snapshotter.driver: snapshotter for snapshotter in node.snapshotters}
    chosen = rules(node)
    seen = survey(node.database, node.content, drivers.keys(), clock=chosen.clock, grace=chosen.grace)
    disk = disk_usage(seen, node.content, drivers)
    forgotten = forgettable(seen.names, chosen.retention, chosen.clock(), seen.holds, lambda: disk)
    teller = _Teller(seen, disk, {gone.name.thing: gone.why for gone in forgotten})
    teller.add_mounted(drivers)
    things = _named(node, disk.sizes.keys() | seen.holds.reachable(), text)
    if not things:
        raise NotFoundError(
            f"{printable(text)!r}: no image, container, snapshot, ingest, lease or digest of this store; "
            "of a digest write four or more hex digits, in small letters"
        )
    return [teller.explanation(thing) for thing in sorted(things)]


@dataclass(frozen=True, slots=True)
class _Teller:
    """Tells about things.

    Attributes:
        seen: the graph.
        disk: what is here takes so much.
        forgotten: names that prune would forget, and why.
    """

    seen: Survey
    disk: Disk
    forgotten: Mapping[Thing, str]

    def add_mounted(self, drivers: Mapping[str, Maintained]) -> None:
        """Add that no snapshot is removed while it is mounted, although nothing leads to it."""
        for thing in self.seen.snapshots.keys() - self.seen.holds.reachable(self.forgotten):
            row = self.seen.snapshots[thing]
            try:
                drivers[row["driver"]].refuse_mounted(row["key"])
            except PrestowError as error:
                self.seen.holds.root(thing, str(error))

    def explanation(self, thing: Thing) -> Explanation:
        """Return what is known of one."""
        ways = list(self.seen.holds.reasons(thing))
        reasons = [self._reason(way) for way in ways if way[0] not in self.forgotten]
        if not reasons and self.seen.holds.broken:
            reasons = [Reason(f"prune removes nothing while this is so: {self.seen.holds.broken[0]}", ())]
        removal = "" if reasons else self._removal(thing, [way[0] for way in ways])
        size = self.disk.shared.get(thing, self.disk.sizes.get(thing))
        shared = thing in self.disk.shared
        return Explanation(self._kind(thing), thing.name, size, shared, bool(reasons), tuple(reasons), removal)

    def _reason(self, way: Sequence[Thing]) -> Reason:
        root = way[0]
        kept = [name.kept for name in self.seen.names if name.thing == root and name.kept]
        links = tuple(Link(self._kind(thing), thing.name) for thing in way if thing.kind != "key")
        return Reason("; ".join([self.seen.holds.roots[root], *kept]), links)

    def _removal(self, thing: Thing, roots: Sequence[Thing]) -> str:
        if thing in self.forgotten:
            return self.forgotten[thing]
        if roots:
            return f"only {self.seen.holds.roots[roots[0]]} leads to it, which goes: {self.forgotten[roots[0]]}"
        return UNHELD

    def _kind(self, thing: Thing) -> str:
        return self.seen.holds.roles.get(thing, thing.kind)


def _named(node: Node, things: Iterable[Thing], text: str) -> set[Thing]:
    """Find what a text names, of any kind."""
    here = {thing for thing in things if thing.kind != "key"}
    owned = {title(node.namespace, text), *([text] if text.endswith(")") else [])}  # as it is told, with its namespace
    found = {thing for thing in here if thing.name in (owned if thing.kind in _OWNED else {text})}
    found |= {thing for thing in here if thing.kind == "snapshot" and _key(thing) == text}
    found |= {Thing("lease", lease.id) for lease in node.leases.list() if _is_for(node, lease, text)}
    with suppress(PrestowError):
        image = node.image(text)
        if text not in image.target.digest:  # that is asked about the blob
            found.add(Thing("image", title(image.namespace, image.name)))
    return found or _beginning(here, text)


def _is_for(node: Node, lease: Lease, text: str) -> bool:
    """Whether work under a lease of this namespace is for what a text names: an image that is pulled, a container."""
    subject = lease.owner.partition(" ")[2]
    names = {text}
    with suppress(PrestowError):
        names.add(image_name(text, None))
    return lease.namespace == node.namespace and subject in names


def _beginning(things: Iterable[Thing], text: str) -> set[Thing]:
    """Find the blobs and snapshots whose digest begins so."""
    if not _PREFIX.fullmatch(text):
        return set()
    by_digest: dict[str, set[Thing]] = {}
    for thing in things:
        digest = _key(thing) if thing.kind == "snapshot" else thing.name
        if thing.kind in ("blob", "snapshot") and text in (digest[: len(text)], digest.partition(":")[2][: len(text)]):
            by_digest.setdefault(digest, set()).add(thing)
    if len(by_digest) > 1:
        raise InvalidError(
            f"{text}: several digests begin so: {', '.join(sorted(by_digest)[:_SHOWN])}; write more of it"
        )
    return set().union(*by_digest.values())


def _key(thing: Thing) -> str:
    return thing.name.partition("/")[2]
