"""Images of earlier generations of a set leave the host; what anything else uses stays."""

import pytest

from flows.bundle import bundle
from flows.fanout import PrepullError
from flows.pull import pull
from prestow.gc.retention import KEEP
from prestow.metadata.tag import label, tag
from prestow.store.node import open_node
from tests.orders import delivered, locked, names, pins
from tests.registries import FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def images(fault_registry: FaultRegistry) -> dict[str, str]:
    """Five images."""
    return {name: locked(fault_registry, f"team/{name}:1") for name in "abcde"}


def digest(reference: str) -> str:
    return reference.partition("@")[2]


def here(home: str) -> str:
    """The names of the five images that a store has."""
    return "".join(sorted(name.removeprefix("team/").removesuffix(":1") for name in names(home)))


def test_the_images_of_as_many_generations_stay_as_the_order_says(home: str, images: dict[str, str]) -> None:
    seen = []
    for generation, wanted in enumerate(("ab", "ac", "ad", "ae"), start=1):
        delivered(home, [images[name] for name in wanted], generation, generations=2)
        seen.append(here(home))

    assert seen == ["ab", "abc", "acd", "ade"]
    node = open_node(home)
    assert {digest(images[name]) for name in "ade"} <= pins(node).keys()
    assert [image.name.rpartition("/")[2] for image in node.sets.images()] == ["a:1", "d:1", "e:1"]
    assert digest(images["b"]) not in pins(node)
    assert all(digest(images[name]) not in map(str, (info.digest for info in node.content.walk())) for name in "bc")


def test_a_generation_that_changed_nothing_else_counts(home: str, images: dict[str, str]) -> None:
    for generation, wanted in enumerate(("ab", "a", "a"), start=1):
        delivered(home, [images[name] for name in wanted], generation, generations=2)

    assert here(home) == "a"


def test_after_a_rollback_the_generation_that_it_left_is_an_earlier_one(home: str, images: dict[str, str]) -> None:
    for generation, wanted in ((11, "a"), (12, "b"), (11, "a")):
        delivered(home, [images[name] for name in wanted], generation, generations=2)

    assert here(home) == "ab"
    delivered(home, [images["c"]], 13, generations=2)
    assert here(home) == "ac"


def test_an_earlier_target_of_a_name_is_leased_as_long_as_its_generation(
    home: str, fault_registry: FaultRegistry
) -> None:
    versions = [locked(fault_registry, "team/a:1", text) for text in ("one", "two", "three")]
    for generation, version in enumerate(versions, start=1):
        delivered(home, [version], generation, generations=2)

    assert names(home) == {"team/a:1": digest(versions[2])}
    assert {digest(version) in pins(open_node(home)) for version in versions[1:]} == {True}
    assert digest(versions[0]) not in pins(open_node(home))


def test_nothing_leaves_while_an_image_of_the_generation_is_missing(home: str, images: dict[str, str]) -> None:
    delivered(home, [images["a"]], 1, generations=1)
    missing = images["b"].partition("@")[0] + f"@sha256:{'0' * 64}"

    with pytest.raises(PrepullError):
        delivered(home, [images["c"], missing], 2, generations=1)

    assert here(home) == "ac"
    delivered(home, [images["c"]], 3, generations=1)
    assert here(home) == "c"


def test_images_of_other_sets_and_of_people_stay(home: str, images: dict[str, str]) -> None:
    pull(images["a"], name=images["a"].partition("@")[0], home=home)  # before any set
    delivered(home, [images["b"]], of="other")
    delivered(home, [images[name] for name in "abcde"], 1, generations=1)
    pull(images["c"].partition("@")[0], home=home)  # since
    node = open_node(home)
    kept = images["d"].partition("@")[0]
    label(node.database, node.content, kept, {KEEP: "true"})

    delivered(home, [images["e"]], 2, generations=1)

    assert here(home) == "abcde"
    assert {lease.owner for leases in pins(node).values() for lease in leases} == {
        "image set other", "image set nightly"
    }  # fmt: skip
    assert {row.name.rpartition("/")[2] for row in node.sets.images("nightly")} == {"e:1"}
    delivered(home, [images["d"]], 2, of="other", generations=1)
    assert here(home) == "acde"  # b had no one else


def test_a_name_that_a_person_moved_stays(home: str, images: dict[str, str]) -> None:
    delivered(home, [images[name] for name in "ab"], 1, generations=1)
    node = open_node(home)
    moved = images["a"].partition("@")[0]
    tag(node.database, node.content, moved, node.images.find(images["b"].partition("@")[0]).target)

    delivered(home, [images["c"]], 2, generations=1)

    assert names(home)["team/a:1"] == digest(images["b"])
    assert here(home) == "ac"


def test_a_name_of_which_a_container_is_made_stays(home: str, images: dict[str, str]) -> None:
    delivered(home, [images["a"]], 1, generations=1)
    bundle(images["a"].partition("@")[0], id="box", args=("x",), home=home)

    delivered(home, [images["b"]], 2, generations=1)

    assert here(home) == "ab"


def test_an_unused_image_of_a_generation_that_stays_leaves_after_a_time(home: str, images: dict[str, str]) -> None:
    delivered(home, [images[name] for name in "ab"], 1)
    delivered(home, [images["b"]], 2, unused_seconds=3600)
    assert here(home) == "ab"

    delivered(home, [images["b"]], 2, unused_seconds=1e-9)

    assert here(home) == "b"  # which is of the present generation
