"""Who holds what: the graph from the roots of the garbage collection down to every blob and snapshot.

    image, generation ──▶ index ──▶ manifest ──▶ config ──▶ diff blobs
                                       │            └─────▶ chain IDs ──▶ snapshots ──▶ parent, diff blob
                                       └──▶ layers
    container ──▶ manifest, snapshot                lease ──▶ blobs, ingests, snapshots

What a root leads to stays, and nothing else does; snapshots and ingests may be roots themselves. So the collection and
the answer to "why is this still here?" are two readings of one graph, and cannot contradict each other.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from prestow.digest import Digest

Kind: TypeAlias = Literal["image", "generation", "container", "lease", "blob", "key", "snapshot", "ingest"]


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """A root, or something that a root may lead to.

    Attributes:
        kind: what it is; a ``key`` stands for the snapshots that bear it, in whichever driver, if there are any.
        name: of a lease its ID, of a blob its digest, of a snapshot ``driver/key``, of an ingest its ref.
    """

    kind: Kind
    name: str


def blob(digest: Digest) -> Thing:
    """Name a blob."""
    return Thing("blob", digest)


def key(name: str) -> Thing:
    """Name the snapshots of one key, or of one chain ID."""
    return Thing("key", name)


def snapshot(driver: str, key: str) -> Thing:
    """Name a snapshot."""
    return Thing("snapshot", f"{driver}/{key}")


@dataclass(slots=True)
class Holds:
    """The graph.

    Attributes:
        roots: what is kept for its own sake, and a word about why.
        roles: what a blob is to what names it: ``index``, ``manifest``, ``config``, ``layer`` or ``diff blob``.
        broken: roots that lead somewhere unknown, for a document is damaged; nothing may be removed then.
    """

    roots: dict[Thing, str] = field(default_factory=dict)
    roles: dict[Thing, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    _below: dict[Thing, dict[Thing, None]] = field(default_factory=dict)

    def root(self, thing: Thing, why: str) -> Thing:
        """Add a root, and give it back."""
        self.roots[thing] = why
        return thing

    def add(self, holder: Thing, held: Iterable[Thing], role: str | None = None) -> None:
        """Let one thing hold others; ``role`` says what blobs they are, unless that is known."""
        below = self._below.setdefault(holder, {})
        for thing in held:
            below[thing] = None
            if role is not None:
                self.roles.setdefault(thing, role)

    def below(self, thing: Thing) -> Mapping[Thing, None]:
        """Return what a thing holds itself."""
        return self._below.get(thing, {})

    def reachable(self, without: Iterable[Thing] = ()) -> set[Thing]:
        """Return everything that the roots lead to, themselves included; ``without`` some of them."""
        kept: set[Thing] = set()
        self.reach(self.roots.keys() - set(without), kept)
        return kept

    def reach(self, roots: Iterable[Thing], known: set[Thing]) -> list[Thing]:
        """Add to ``known`` what some roots lead to, and give what was not known before."""
        fresh = []
        pending = [root for root in roots if root not in known]
        while pending:
            thing = pending.pop()
            if thing not in known:
                known.add(thing)
                fresh.append(thing)
                pending += self.below(thing)
        return fresh

    def beyond(self, root: Thing, known: AbstractSet[Thing]) -> Iterator[Thing]:
        """Yield what a root leads to and what is not ``known``."""
        seen: set[Thing] = set()
        pending = [root]
        while pending:
            thing = pending.pop()
            if not (thing in known or thing in seen):
                seen.add(thing)
                pending += self.below(thing)
                yield thing

    def reasons(self, thing: Thing) -> Iterator[tuple[Thing, ...]]:
        """Yield the shortest way to a thing from each root that leads there, nearest root first; the thing is last."""
        above: dict[Thing, list[Thing]] = {}
        for holder, held in self._below.items():
            for each in held:
                above.setdefault(each, []).append(holder)
        ways: dict[Thing, tuple[Thing, ...]] = {thing: (thing,)}
        pending = deque([thing])
        while pending:
            at = pending.popleft()
            if at in self.roots:
                yield ways[at]
            for holder in above.get(at, ()):
                if holder not in ways:
                    ways[holder] = (holder, *ways[at])
                    pending.append(holder)
