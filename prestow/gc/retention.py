"""Retention: which names, and which of the targets that they had before, are removed by rules, and not by a command.

    generations    what a name stood for before it was pulled anew: the newest N of each name stay
    unused_for     a name that was neither pulled anew nor used for so long goes
    above, below   where the disk is fuller than ``above``, the names that were used longest ago go until it will be
                   emptier than ``below``

A name with the label ``prestow.keep=true`` stays, and so does one of which a container is made, running or not. By
default no name is forgotten, and no earlier target kept. Pure: planning changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from prestow.errors import InvalidError
from prestow.gc.graph import Holds, Thing
from prestow.oci.descriptor import Descriptor

KEEP = "prestow.keep"
"""Label of a name; with the value ``true`` no rule forgets it."""

_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of names that were not removed.

    Attributes:
        generations: how many earlier targets of each name stay.
        unused_for: seconds after which an unused name goes; None for never.
        above: percent of the disk in use above which names go; None for never.
        below: percent of the disk in use below which no more go; ``above`` if not given.

    Raises:
        InvalidError: ``below`` is greater than ``above``, or without it.
    """

    generations: int = 0
    unused_for: float | None = None
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        """Check the two marks."""
        if self.below is not None and (self.above is None or self.below > self.above):
            above = "there is no above" if self.above is None else f"above is {self.above:g}%"
            raise InvalidError(f"retention: below is {self.below:g}% of the disk, {above}; expected below <= above")


@dataclass(frozen=True, slots=True)
class Disk:
    """How full the store's disk is, as df(1) counts it, and with what.

    Attributes:
        used: bytes in use.
        total: bytes that an ordinary user could have in all.
        sizes: bytes that the removal of each blob, snapshot and ingest of the store gives back.
        shared: bytes of those blobs that a runtime has links to; their removal gives nothing back.
    """

    used: int
    total: int
    sizes: Mapping[Thing, int]
    shared: Mapping[Thing, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Name:
    """A name, or an earlier target of one, as the rules see it.

    Attributes:
        thing: its root in the graph.
        namespace: whose it is.
        name: the name.
        target: what it stands for, or stood for.
        used_at: when that was last of use: pulled, used for a bundle, or replaced.
        kept: why no rule may forget it; empty if rules may.
    """

    thing: Thing
    namespace: str
    name: str
    target: Descriptor
    used_at: float
    kept: str = ""

    @property
    def earlier(self) -> bool:
        """Whether the name stands for something else by now."""
        return self.thing.kind == "generation"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A name, or an earlier target of one, that goes, and why."""

    name: Name
    why: str


def forgettable(
    names: Iterable[Name], rules: Retention, now: float, holds: Holds, disk: Callable[[], Disk]
) -> list[Forgotten]:
    """Return what the rules forget; ``disk`` is asked only if they depend on it."""
    names = sorted(names, key=lambda name: (not name.earlier, name.used_at))  # in the order in which they may go
    old = list(_too_old(names, rules, now))
    old += _too_many(names, rules, {(each.name.namespace, each.name.name) for each in old})
    if rules.above is None:
        return old
    gone = {each.name.thing for each in old}
    return old + _too_much([name for name in names if name.thing not in gone], rules, holds, disk())


def _too_many(names: Sequence[Name], rules: Retention, gone: AbstractSet[tuple[str, str]]) -> Iterable[Forgotten]:
    """Yield which earlier targets go: all that too many others came after, and all of the names that are ``gone``."""
    newer: dict[tuple[str, str], int] = {}
    for name in reversed(names):
        if name.earlier:
            of = name.namespace, name.name
            rank = newer[of] = newer.get(of, 0) + 1
            if of in gone:
                yield Forgotten(name, "its name goes")
            elif rank > rules.generations:
                yield Forgotten(name, f"replaced, and {rules.generations} earlier generations are kept")


def _too_old(names: Sequence[Name], rules: Retention, now: float) -> Iterable[Forgotten]:
    for name in names:
        age = now - name.used_at
        if rules.unused_for is not None and age > rules.unused_for and not (name.earlier or name.kept):
            yield Forgotten(name, f"unused for {duration(age)}, more than {duration(rules.unused_for)}")


def _too_much(names: Sequence[Name], rules: Retention, holds: Holds, disk: Disk) -> list[Forgotten]:
    """Return what goes of ``names``, which otherwise stay: first things first, until the disk is as empty as wished."""
    roots = holds.roots.keys() - {thing for thing in holds.roots if thing.kind in ("image", "generation")}
    order = [name for name in names if not name.kept]
    stays: set[Thing] = set()
    holds.reach([*roots, *(name.thing for name in names if name.kept)], stays)
    freed = _freed(order, holds, disk, stays)
    used = sum(freed.values()) + disk.used - sum(size for thing, size in disk.sizes.items() if thing not in stays)
    if rules.above is None or used * _PERCENT <= rules.above * disk.total:
        return []
    excess = used - (rules.above if rules.below is None else rules.below) * disk.total / _PERCENT
    why = f"used longest ago, and the disk is {used * _PERCENT // disk.total}% full, more than {rules.above:g}%"
    found = []
    for name in order:
        if excess > 0 and any(disk.sizes.get(thing) for thing in holds.beyond(name.thing, stays)):
            excess -= freed[name.thing]
            found.append(Forgotten(name, why))
    return found


def _freed(order: Sequence[Name], holds: Holds, disk: Disk, stays: set[Thing]) -> dict[Thing, int]:
    """Return what the end of each name frees when those before it have gone: what nothing else holds by then."""
    known = set(stays)
    return {
        name.thing: sum(disk.sizes.get(thing, 0) for thing in holds.reach([name.thing], known))
        for name in reversed(order)
    }


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
