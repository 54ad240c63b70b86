"""From a fleet file and its former lock to the next lock: what is asked, what stays, and what changed.

    relock    the next lock; asks for new references, for those that are to move, and for platforms that are new
    check     what differs from the lock, found without asking for more than where each reference points
    changes   what differs between two locks

A reference that stays in the file as it was keeps what is locked, until it is moved on purpose.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from prestow.errors import InvalidError, NotFoundError, PreconditionError, PrestowError, printable
from prestow.fleet.file import FleetFile, ImageSet
from prestow.fleet.lock import Lock, LockedImage, LockedPlatform, LockedSet
from prestow.reference import Reference

_T = TypeVar("_T")

Platforms = Mapping[str, tuple[str, ...]]
"""Of each set, the platforms of its hosts."""

Kind = Literal["added", "removed", "moved", "platforms", "order"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reference points now.

    Attributes:
        name: the name that hosts give it: with the tag that a pattern means, and no digest beside a tag.
        digest: of the index or manifest.
    """

    name: str
    digest: str


class Registry(Protocol):
    """Answers what a lock asks."""

    def target(self, reference: str) -> Target:
        """Return where a reference points now."""

    def platform(self, target: Target, platform: str) -> LockedPlatform:
        """Return the manifest and layers of a target for a platform."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different about an image of a set, or, where ``reference`` is empty, about the set.

    Attributes:
        before: name and digest in the lock; None if it is not there.
        after: name and digest now; None if it is not there, or was not asked for.
    """

    set: str
    reference: str
    kind: Kind
    before: Target | None = None
    after: Target | None = None


def relock(
    file: FleetFile, platforms: Platforms, former: Lock, registry: Registry, move: Collection[str] | None = ()
) -> Lock:
    """Return the next lock.

    Args:
        file: the fleet file.
        platforms: for which manifests and layers are locked.
        former: the lock so far.
        registry: answers; each reference and each platform of a target is asked for once.
        move: references that are asked for although they are locked; None: all.

    Raises:
        NotFoundError: a reference to move is not in the file.
        PreconditionError: an image comes from a registry that its set does not allow.
        InvalidError: two references of a set have become one name.
        PrestowError: the registry's, with set and image before it.
    """
    check_registries(file)
    every = {reference for each in file.sets.values() for reference in each.images}
    if move is not None and (unknown := sorted(set(move) - every)):
        raise NotFoundError(
            f"image {', '.join(map(printable, unknown))} is not in the fleet file; it has {', '.join(sorted(every))}"
        )
    memory = _Memory(registry, former, every if move is None else move)
    return Lock(
        sets={
            name: _locked_set(name, image_set, platforms[name], former.sets.get(name), memory)
            for name, image_set in sorted(file.sets.items())
        }
    )


def check(file: FleetFile, platforms: Platforms, former: Lock, registry: Registry) -> list[Change]:
    """Return what would change if all references were locked again; one that is not locked is not asked for.

    Raises:
        PreconditionError: an image comes from a registry that its set does not allow.
        PrestowError: the registry's, with set and image before it.
    """
    check_registries(file)
    before, memory = _view(former), _Memory(registry, former, ())
    after = {
        name: [
            _Entry(reference, memory.now(name, reference) if reference in known else None, frozenset(platforms[name]))
            for reference in image_set.images
        ]
        for name, image_set in sorted(file.sets.items())
        for known in [{entry.reference for entry in before.get(name, ())}]
    }
    return _compare(before, after)


def changes(former: Lock, now: Lock) -> list[Change]:
    """Return what differs between two locks, set by set."""
    return _compare(_view(former), _view(now))


def check_registries(file: FleetFile) -> None:
    """Check that the images of each set come from registries that it allows.

    Raises:
        PreconditionError: one does not.
    """
    for name, image_set in file.sets.items():
        for text in image_set.images:
            repository = Reference.parse(text.replace("*", "0"))
            if image_set.registries and not any(map(repository.is_from, image_set.registries)):
                raise PreconditionError(
                    f"image set {name}: image {text} comes from none of the set's registries "
                    f"({', '.join(image_set.registries)}); choose another image, or add its registry to the set"
                )


class _Memory:
    """Asks for nothing twice, and for nothing that the former lock says and that is not to move."""

    def __init__(self, registry: Registry, former: Lock, move: Collection[str]) -> None:
        self._registry = registry
        self._move = move
        self._former = former
        self._targets: dict[str, Target] = {}
        self._platforms = {
            (image.name.partition("@")[0], image.digest, platform): locked
            for each in former.sets.values()
            for image in each.images
            for platform, locked in image.platforms.items()
        }

    def target(self, name: str, reference: str) -> Target:
        """Return the target of a reference: as set ``name``, or another one, has it locked, or as it is now."""
        if reference not in self._move:
            own = [self._former.sets[name]] if name in self._former.sets else []
            for locked in (*own, *self._former.sets.values()):
                for image in locked.images:
                    if image.reference == reference:
                        return _target(image)
        return self.now(name, reference)

    def now(self, name: str, reference: str) -> Target:
        """Return where a reference points now."""
        if reference not in self._targets:
            self._targets[reference] = _about(name, reference, lambda: self._registry.target(reference))
        return self._targets[reference]

    def platform(self, name: str, reference: str, target: Target, platform: str) -> LockedPlatform:
        """Return the manifest and layers of a target."""
        key = (target.name.partition("@")[0], target.digest, platform)
        if key not in self._platforms:
            self._platforms[key] = _about(name, reference, lambda: self._registry.platform(target, platform))
        return self._platforms[key]


def _about(name: str, reference: str, ask: Callable[[], _T]) -> _T:
    """Ask, and say which set and image a failure is about."""
    try:
        return ask()
    except PrestowError as error:
        what = f"image set {name}: image {reference}"
        raise type(error)(f"{what}: {error}", retry_after=error.retry_after) from error


def _locked_set(
    name: str, image_set: ImageSet, platforms: Sequence[str], former: LockedSet | None, memory: _Memory
) -> LockedSet:
    images: dict[str, LockedImage] = {}
    for reference in image_set.images:
        target = memory.target(name, reference)
        if target.name in images:
            other = images[target.name].reference
            raise InvalidError(
                f"image set {name}: {other} and {reference} both mean {target.name}; remove one of them from the set"
            )
        images[target.name] = LockedImage(
            reference=reference,
            name=target.name,
            digest=target.digest,
            platforms={each: memory.platform(name, reference, target, each) for each in sorted(platforms)},
        )
    locked = tuple(images.values())
    if former is not None and former.images == locked:
        return former
    return LockedSet(generation=1 if former is None else former.generation + 1, images=locked)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An image of a set, as far as two states are compared by it."""

    reference: str
    target: Target | None
    platforms: frozenset[str]


def _target(image: LockedImage) -> Target:
    return Target(image.name, image.digest)


def _view(lock: Lock) -> dict[str, list[_Entry]]:
    return {
        name: [_Entry(image.reference, _target(image), frozenset(image.platforms)) for image in locked.images]
        for name, locked in lock.sets.items()
    }


def _compare(before: Mapping[str, Sequence[_Entry]], after: Mapping[str, Sequence[_Entry]]) -> list[Change]:
    found: list[Change] = []
    for name in sorted({*before, *after}):
        old = {entry.reference: entry for entry in before.get(name, ())}
        new = {entry.reference: entry for entry in after.get(name, ())}
        found += [Change(name, each, "removed", entry.target) for each, entry in old.items() if each not in new]
        for reference, entry in new.items():
            was = old.get(reference)
            if was is None:
                found.append(Change(name, reference, "added", None, entry.target))
            elif was.target != entry.target:
                found.append(Change(name, reference, "moved", was.target, entry.target))
            elif was.platforms != entry.platforms:
                found.append(Change(name, reference, "platforms", was.target, entry.target))
        if [each for each in old if each in new] != [each for each in new if each in old]:
            found.append(Change(name, "", "order"))
    return found
