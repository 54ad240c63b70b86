"""Retention: what is forgotten, in which order, and why; and what never is."""

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import InvalidError
from prestow.gc.collect import Rules, Swept, sweep
from prestow.gc.graph import Holds, Thing, blob
from prestow.gc.retention import KEEP, Disk, Name, Retention, forgettable
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.images import Images
from prestow.metadata.layout_index import read_index
from prestow.metadata.tag import tag
from prestow.oci.descriptor import Descriptor
from tests.metadata.factory import Home, Made, make_image

DAY = 86400.0
NAME = "localhost/a:1"


def pulled(home: Home, name: str, *layers: bytes, at: float) -> Made:
    image = make_image(home, *layers, note=f"{name} {at}")
    Images(home.db, clock=lambda: at).put(name, image.target)
    return image


def swept(home: Home, retention: Retention, *, at: float, dry_run: bool = False) -> Swept:
    return sweep(home.db, home.content, rules=Rules(retention, dry_run=dry_run, clock=lambda: at))


def names(home: Home) -> set[str]:
    return {image.name for image in Images(home.db).every()}


def test_by_default_no_name_is_forgotten_however_old(home: Home) -> None:
    pulled(home, NAME, b"1", at=0.0)

    assert swept(home, Retention(), at=time.time()) == Swept()
    assert names(home) == {NAME}


def test_what_was_unused_for_too_long_goes_and_says_so(home: Home) -> None:
    image = pulled(home, NAME, b"1", at=0.0)
    tag(home.db, home.content, "localhost/used:1", make_image(home, b"2").target)
    rules = Retention(unused_for=30 * DAY)

    told = swept(home, rules, at=time.time(), dry_run=True)
    done = swept(home, rules, at=time.time())

    assert told.of("image") == done.of("image") == (NAME,)
    assert "unused for" in told.removed[0].why
    assert set(told.removed) >= {each for each in done.removed if each.kind != "image"}
    assert set(done.of("blob")) == image.blobs
    assert names(home) == {named.name for named in read_index(home.content.root)} == {"localhost/used:1"}


def test_use_counts_to_the_minute(home: Home) -> None:
    pulled(home, NAME, b"1", at=0.0)
    for at in (40 * DAY, 40 * DAY + 59):
        Images(home.db, clock=lambda at=at: at).use(NAME)  # type: ignore[misc]  # mypy infers no default here

    assert Images(home.db).get(NAME).used_at == 40 * DAY
    assert swept(home, Retention(unused_for=30 * DAY), at=69 * DAY) == Swept()
    assert swept(home, Retention(unused_for=30 * DAY), at=71 * DAY).of("image") == (NAME,)


def test_a_label_and_a_container_protect_a_name(home: Home) -> None:
    labelled, contained = pulled(home, "a", b"1", at=0.0), pulled(home, "b", b"2", at=0.0)
    pulled(home, "c", b"3", at=0.0)
    Images(home.db).label("a", {KEEP: "true"})
    Images(home.db).label("c", {KEEP: "false"})
    digest = contained.target.digest
    Containers(home.db).put(ContainerRecord("default", "box", "b", digest, "erofs", "box", "/b", 1.0))

    assert swept(home, Retention(unused_for=DAY, above=0.001), at=time.time()).of("image") == ("c",)
    assert labelled.blobs | contained.blobs <= home.digests()


def test_the_newest_generations_of_each_name_stay(home: Home) -> None:
    versions = [pulled(home, NAME, b"base", b"%d" % at, at=float(at)) for at in range(5)]

    kept = swept(home, Retention(generations=2), at=10.0)

    assert kept.of("generation") == tuple(f"{NAME} {versions[at].target.digest}" for at in (1, 0))
    assert set.union(*(image.blobs for image in versions[2:])) == home.digests()

    swept(home, Retention(), at=10.0)
    assert home.digests() == versions[4].blobs


def test_a_generation_that_cannot_be_read_is_no_reason_to_stop(home: Home) -> None:
    earlier = pulled(home, NAME, b"1", at=0.0)
    later = pulled(home, NAME, b"2", at=1.0)
    home.content.delete(earlier.config.digest)

    swept(home, Retention(generations=1), at=2.0)

    assert home.digests() >= later.blobs | {earlier.target.digest}


def test_a_name_takes_its_generations_with_it(home: Home) -> None:
    for at in range(3):
        pulled(home, NAME, b"%d" % at, at=float(at))

    told = swept(home, Retention(generations=5, unused_for=DAY), at=30 * DAY, dry_run=True)
    done = swept(home, Retention(generations=5, unused_for=DAY), at=30 * DAY)

    assert len(told.of("generation")) == 2
    assert set(told.of("blob")) == set(done.of("blob"))
    assert home.digests() == set()


def test_what_is_used_between_the_plan_and_the_deed_stays(home: Home) -> None:
    pulled(home, NAME, b"1", at=0.0)
    times = iter([DAY * 30] * 100)

    def clock() -> float:
        Images(home.db, clock=lambda: 29 * DAY).use(NAME)  # somebody uses it while the collection thinks
        return next(times)

    assert sweep(home.db, home.content, rules=Rules(Retention(unused_for=2 * DAY), clock=clock)).of("image") == ()
    assert names(home) == {NAME}


@pytest.mark.parametrize(("above", "below"), [(None, 50), (50, 60)])
def test_marks_that_contradict_each_other_are_refused(above: float | None, below: float) -> None:
    with pytest.raises(InvalidError, match="expected below <= above"):
        Retention(above=above, below=below)


@dataclass
class Store:
    """Names that lead to blobs of known sizes on a disk of 1000 bytes."""

    holds: Holds = field(default_factory=Holds)
    names: list[Name] = field(default_factory=list)
    sizes: dict[Thing, int] = field(default_factory=dict)

    def add(self, name: str, used_at: float, *blobs: tuple[str, int], kept: str = "") -> None:
        """Add a name."""
        thing = self.holds.root(Thing("image", name), name)
        for text, size in blobs:
            self.sizes[blob(Digest(text))] = size
            self.holds.add(thing, [blob(Digest(text))])
        target = Descriptor("x", Digest.of(name.encode()), 1)
        self.names.append(Name(thing, "default", name, target, used_at, kept))

    def forgotten(self, used: int, above: float, below: float | None = None) -> list[str]:
        """Return what goes, in order."""
        disk = Disk(used, 1000, self.sizes)
        found = forgettable(self.names, Retention(above=above, below=below), 0.0, self.holds, lambda: disk)
        return [each.name.name for each in found]


@pytest.fixture
def store() -> Store:
    made = Store()
    made.add("old", 1.0, ("a", 100), ("shared", 200))
    made.add("older", 0.0, ("b", 100), ("shared", 200))
    made.add("new", 2.0, ("c", 100))
    return made


@pytest.mark.parametrize(
    ("used", "above", "below", "expected"),
    [
        (800, 80, None, []),
        (810, 80, None, ["older"]),
        (810, 80, 71, ["older"]),
        (810, 80, 70, ["older", "old"]),  # the second frees what they share, too
        (810, 80, 41, ["older", "old"]),
        (810, 80, 40, ["older", "old", "new"]),
        (990, 80, 1, ["older", "old", "new"]),
    ],
)
def test_names_go_least_recently_used_first_until_it_is_enough(
    store: Store, used: int, above: float, below: float | None, expected: list[str]
) -> None:
    assert store.forgotten(used, above, below) == expected


def test_garbage_is_counted_before_any_name_goes(store: Store) -> None:
    store.sizes[blob(Digest("garbage"))] = 50

    assert store.forgotten(840, 80) == []
    assert store.forgotten(860, 80) == ["older"]


def test_a_name_whose_end_frees_nothing_stays(store: Store) -> None:
    store.add("alias", -1.0, ("c", 100))
    store.add("kept", 0.0, ("c", 100), kept="label")

    assert store.forgotten(990, 80, 1) == ["older", "old"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcdefgh")), st.booleans()), max_size=6),
    st.integers(0, 1000),
    st.integers(1, 100),
)
def test_what_goes_is_no_more_than_needed_and_frees_what_it_can(
    images: list[tuple[set[str], bool]], used: int, mark: int
) -> None:
    store = Store()
    for at, (blobs, kept) in enumerate(images):
        store.add(str(at), float(at), *((each, 10 + ord(each)) for each in sorted(blobs)), kept="x" if kept else "")

    gone = store.forgotten(used, mark)

    def left(without: list[str]) -> int:
        kept = store.holds.reachable(Thing("image", name) for name in without)
        return used - sum(size for thing, size in store.sizes.items() if thing not in kept)

    free = {str(at) for at, (_, kept) in enumerate(images) if not kept}
    assert set(gone) <= free
    assert not gone or left(gone[:-1]) > mark * 10  # the last one was needed
    assert left(gone) <= mark * 10 or left(gone) == left(sorted(free))
