"""What a lock asks for, what it keeps, how it counts generations, and what it says has changed."""

from collections.abc import Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, PreconditionError, PrestowError, UnavailableError
from prestow.fleet.document import parse
from prestow.fleet.file import FleetFile, Host, ImageSet
from prestow.fleet.lock import Lock, LockedLayer, LockedPlatform
from prestow.fleet.resolution import Change, Target, changes, check, relock

AMD64 = "linux/amd64"
REFERENCES = ("example.com/a:1", "example.com/b:1", "example.com/c:1.*")


def digest(text: str) -> str:
    return str(Digest.of(text.encode()))


class Asked:
    """A registry of the test: where each reference points is set, and what was asked is in ``asked``."""

    def __init__(self, **moved: str) -> None:
        self.asked: list[str] = []
        self.points = {reference: reference for reference in REFERENCES} | {
            f"example.com/{name}": value for name, value in moved.items()
        }
        self.names: dict[str, str] = {}
        self.failure: PrestowError | None = None

    def target(self, reference: str) -> Target:
        """Return where it points."""
        self.asked.append(reference)
        name = self.names.get(reference, reference.replace("*", "9"))
        return Target(name, digest(self.points.get(reference, reference)))

    def platform(self, target: Target, platform: str) -> LockedPlatform:
        """Return a manifest that depends on both."""
        if self.failure is not None:
            raise self.failure
        self.asked.append(f"{target.digest} {platform}")
        layer = LockedLayer(digest=digest(f"layer {target.digest}"), size=7, diff_id=digest("tar"))
        return LockedPlatform(digest=digest(f"{target.digest} {platform}"), layers=(layer,))

    def move(self, reference: str) -> None:
        """Let it point elsewhere."""
        self.points[reference] += "'"


def fleet(registries: Iterable[str] = (), **sets: Iterable[str]) -> FleetFile:
    return FleetFile(
        hosts=(Host(name="a"),),
        sets={name: ImageSet(images=tuple(images), registries=tuple(registries)) for name, images in sets.items()},
    )


def locked(file: FleetFile, registry: Asked, former: Lock | None = None, move: Collection[str] | None = ()) -> Lock:
    return relock(file, dict.fromkeys(file.sets, (AMD64,)), former or Lock(), registry, move)


def kinds(found: Iterable[Change]) -> list[tuple[str, str, str]]:
    return [(each.set, each.reference, each.kind) for each in found]


def test_each_reference_and_platform_is_asked_for_once() -> None:
    registry = Asked()

    lock = locked(fleet(one=REFERENCES, two=REFERENCES), registry)

    assert len(registry.asked) == len(set(registry.asked)) == 2 * len(REFERENCES)
    assert lock.sets["one"] == lock.sets["two"]
    assert lock.sets["one"].generation == 1
    assert [image.reference for image in lock.sets["one"].images] == list(REFERENCES)
    assert lock.sets["one"].images[2].name == "example.com/c:1.9"


def test_what_is_locked_stays_although_it_moved() -> None:
    registry = Asked()
    first = locked(fleet(one=REFERENCES), registry)
    registry.move(REFERENCES[0])
    registry.asked.clear()

    assert locked(fleet(one=REFERENCES), registry, first) == first
    assert registry.asked == []


def test_only_a_new_reference_is_asked_for() -> None:
    registry = Asked()
    first = locked(fleet(one=REFERENCES[:1], two=REFERENCES[1:2]), registry)
    for reference in REFERENCES:
        registry.move(reference)
    registry.asked.clear()

    second = locked(fleet(one=[REFERENCES[0], REFERENCES[2]], two=REFERENCES[:2]), registry, first)

    assert [asked for asked in registry.asked if ":" in asked and not asked.startswith("sha256")] == [REFERENCES[2]]
    assert second.sets["two"].images[0] == first.sets["one"].images[0]  # as it is locked in the other set
    assert {name: each.generation for name, each in second.sets.items()} == {"one": 2, "two": 2}
    assert kinds(changes(first, second)) == [("one", REFERENCES[2], "added"), ("two", REFERENCES[0], "added")]


def test_an_update_moves_the_named_references_or_all() -> None:
    registry = Asked()
    file = fleet(one=REFERENCES, two=REFERENCES[1:2])
    first = locked(file, registry)
    for reference in REFERENCES:
        registry.move(reference)

    some = locked(file, registry, first, move=[REFERENCES[0]])
    every = locked(file, registry, first, move=None)

    assert kinds(changes(first, some)) == [("one", REFERENCES[0], "moved")]
    assert {name: each.generation for name, each in some.sets.items()} == {"one": 2, "two": 1}
    assert {each.reference for each in changes(first, every)} == set(REFERENCES)
    assert changes(first, some)[0].after == Target(REFERENCES[0], digest(f"{REFERENCES[0]}'"))
    with pytest.raises(
        NotFoundError, match=r"image example.com/x:1 is not in the fleet file; it has example.com/a:1, "
    ):
        locked(file, registry, first, move=["example.com/x:1"])


def test_a_set_that_left_the_file_leaves_the_lock() -> None:
    registry = Asked()
    first = locked(fleet(one=REFERENCES[:1], two=REFERENCES[1:2]), registry)

    second = locked(fleet(two=REFERENCES[1:2]), registry, first)

    assert dict(second.sets) == {"two": first.sets["two"]}
    assert kinds(changes(first, second)) == [("one", REFERENCES[0], "removed")]


def test_another_platform_is_asked_for_by_digest_and_is_a_change() -> None:
    registry = Asked()
    file = fleet(one=REFERENCES[:1])
    first = locked(file, registry)
    registry.move(REFERENCES[0])
    registry.asked.clear()

    second = relock(file, {"one": (AMD64, "linux/arm64")}, first, registry)

    target = first.sets["one"].images[0].digest
    assert registry.asked == [f"{target} linux/arm64"]
    assert second.sets["one"].generation == 2
    assert kinds(changes(first, second)) == [("one", REFERENCES[0], "platforms")]


def test_another_order_is_a_change() -> None:
    registry = Asked()
    first = locked(fleet(one=REFERENCES), registry)

    second = locked(fleet(one=REFERENCES[::-1]), registry, first)

    assert second.sets["one"].generation == 2
    assert kinds(changes(first, second)) == [("one", "", "order")]


def test_two_references_of_one_name_are_an_error() -> None:
    registry = Asked()
    registry.names["example.com/c:1.*"] = "example.com/c:1.4"

    with pytest.raises(InvalidError, match=r"set one: .*c:1\.4 and .*c:1\.\* both mean example.com/c:1.4; remove one"):
        locked(fleet(one=["example.com/c:1.4", "example.com/c:1.*"]), registry)


def test_registries_of_a_set_are_enforced_before_any_is_asked() -> None:
    registry = Asked()
    locked(fleet(["example.com"], one=REFERENCES), registry)
    locked(fleet(["example.com/?"], one=REFERENCES), registry)
    registry.asked.clear()

    for act in (lambda file: locked(file, registry), lambda file: check(file, {"one": (AMD64,)}, Lock(), registry)):
        with pytest.raises(
            PreconditionError, match=r"set one: image example.com/b:1 comes from none .*\(.*/a, ghcr.io\)"
        ):
            act(fleet(["example.com/a", "ghcr.io"], one=REFERENCES))

    assert registry.asked == []


def test_a_failure_names_set_and_image() -> None:
    registry = Asked()
    registry.failure = UnavailableError("no answer", retry_after=3)

    with pytest.raises(UnavailableError, match=r"image set one: image example.com/a:1: no answer") as raised:
        locked(fleet(one=REFERENCES), registry)

    assert raised.value.retry_after == 3


def test_a_check_says_what_moved_and_what_does_not_fit() -> None:
    registry = Asked()
    first = locked(fleet(one=REFERENCES, two=REFERENCES[:1]), registry)
    file = fleet(one=["example.com/d:1", *REFERENCES[:2]])
    registry.move(REFERENCES[0])
    registry.asked.clear()

    found = check(file, {"one": (AMD64, "linux/arm64")}, first, registry)

    assert kinds(found) == [
        ("one", REFERENCES[2], "removed"), ("one", "example.com/d:1", "added"), ("one", REFERENCES[0], "moved"),
        ("one", REFERENCES[1], "platforms"), ("two", REFERENCES[0], "removed"),
    ]  # fmt: skip
    assert sorted(registry.asked) == sorted(REFERENCES[:2])
    assert (found[2].before, found[2].after) == (
        Target(REFERENCES[0], digest(REFERENCES[0])), Target(REFERENCES[0], digest(f"{REFERENCES[0]}'"))
    )  # fmt: skip


SETS = st.dictionaries(
    st.sampled_from(["one", "two"]), st.lists(st.sampled_from(REFERENCES), min_size=1, unique=True), min_size=1
)


@given(SETS, SETS, st.lists(st.sampled_from(REFERENCES)), st.sampled_from([(), None]))
def test_laws_of_locking(
    before: dict[str, list[str]], after: dict[str, list[str]], moved: list[str], move: Collection[str] | None
) -> None:
    registry, file = Asked(), fleet(**after)
    first = locked(fleet(**before), registry)
    for reference in moved:
        registry.move(reference)

    second = locked(file, registry, first, move)

    # It is stable, survives its own text, and fits the file.
    assert locked(file, registry, second) == second
    assert parse(second.text(), Lock, "fleet.lock.yaml") == second
    assert {name: [image.reference for image in each.images] for name, each in second.sets.items()} == after
    # A generation grows by one exactly where images changed; the changes name those sets, and no others.
    for name, each in second.sets.items():
        old = first.sets.get(name)
        same = old is not None and old.images == each.images
        assert each.generation == (1 if old is None else old.generation + (not same))
    changed = {name for name in {*before, *after} if first.sets.get(name) != second.sets.get(name)}
    assert {change.set for change in changes(first, second)} == changed
    # A check finds what an update of everything would change, and nothing else.
    found = check(file, dict.fromkeys(after, (AMD64,)), second, registry)
    assert found == changes(second, locked(file, registry, second, None))
    assert {change.reference for change in found} <= set(moved)
