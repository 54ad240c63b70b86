"""An order of the fleet that wants images used: containerd gets them, and what leaves the set leaves it, too."""

import json

import pytest
from prefect.artifacts import Artifact

from flows.fanout import PrepullError
from flows.hand_over import hand_over
from flows.prepull import prepull
from flows.rollout.stock import take_stock
from prestow.errors import InvalidError, RuntimeFailedError, UnavailableError, UnsupportedError
from prestow.fleet.order import Order
from prestow.store.node import open_node
from tests.containerd import Containerd
from tests.handover.conftest import NEWER_ONLY, ROOT, newer
from tests.orders import locked, order
from tests.registries import FaultRegistry

pytestmark = [pytest.mark.usefixtures("prefect_server"), ROOT]


def used(home: str, generation: int = 1, **more: object) -> Order:
    """An order whose images the runtime has to use."""
    fields = order(home, generation).model_dump() | {"hand_over": {"runtime": "auto"}, **more}
    return Order.model_validate(fields)


def table(home: str) -> list[dict[str, str]]:
    """The latest table of what the host's runtime uses."""
    key = f"prestow-in-use-{open_node(home).host.replace('.', '-')}"
    rows: list[dict[str, str]] = json.loads(str(getattr(Artifact.get(key), "data", "[]")))
    return rows


def in_use(home: str) -> dict[str, bool | None]:
    """What the host reports."""
    return {image.name.partition("/")[2]: image.in_use for image in take_stock(open_node(home)).images}


def test_the_runtime_uses_what_was_ordered(home: str, runtime: Containerd, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")

    prepull([image], home=home, order=used(home))

    assert in_use(home) == {"team/a:1": True}
    assert image.partition("@")[0] in runtime.ctr("images", "ls", "-q").split()


def test_what_the_runtime_dropped_is_reported_and_brought_back_without_network(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    prepull([image], home=home, order=used(home))
    runtime.forget_images()
    assert in_use(home) == {"team/a:1": False}
    before = len(fault_registry.requests())

    prepull([image], home=home, order=used(home))

    assert in_use(home) == {"team/a:1": True}
    assert len(fault_registry.requests()) == before


@NEWER_ONLY
@pytest.mark.parametrize("runtime", [newer()], indirect=True, ids=["newer"])
def test_a_set_that_wants_a_pin_later_has_it_put_on_what_is_in_use(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    prepull([image], home=home, order=used(home))
    assert [each.pinned for each in take_stock(open_node(home)).images] == [False]

    prepull([image], home=home, order=used(home, hand_over={"runtime": "auto", "pin": True}))

    assert [each.pinned for each in take_stock(open_node(home)).images] == [True]
    assert "pinned=pinned" in runtime.ctr("images", "ls")


def test_images_that_leave_the_set_leave_the_runtime(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    first, second = locked(fault_registry, "team/a:1", "one"), locked(fault_registry, "team/b:1", "two")
    prepull([first], home=home, order=used(home, 1, generations=1))

    prepull([second], home=home, order=used(home, 2, generations=1))

    names = runtime.ctr("images", "ls", "-q")
    assert "team/b:1" in names
    assert "team/a" not in names
    assert in_use(home) == {"team/b:1": True}


def test_a_host_whose_runtime_is_away_fails_and_reports_that(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    runtime.process.terminate()
    runtime.process.wait()

    with pytest.raises(PrepullError, match="containerd"):
        prepull([image], home=home, order=used(home))

    assert in_use(home) == {"team/a:1": None}


def test_an_order_names_a_runtime_that_there_is(home: str) -> None:
    with pytest.raises((InvalidError, ValueError)):
        used(home, hand_over={"runtime": "lxc"})


def test_a_pre_pull_and_a_hand_over_publish_what_the_runtime_says_of_each_image(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    prepull([image], home=home, order=used(home))
    (row,) = table(home)
    assert (row["in use"], row["unpacked"], row["pinned"], row["form"]) == ("yes", "yes", "no", "applied")
    assert f"`{image.partition('@')[0]}`" in row["resolves"]

    runtime.process.terminate()
    runtime.process.wait()
    with pytest.raises(UnavailableError if runtime.address.exists() else UnsupportedError):
        hand_over([image.partition("@")[0]], home=home)
    assert table(home) == [row], "a runtime that does not answer says nothing"


def test_an_image_that_cannot_be_handed_over_is_in_the_table_with_the_reason(
    home: str, runtime: Containerd, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    prepull([image], home=home, order=used(home))
    runtime.forget_images()

    with pytest.raises(RuntimeFailedError, match=r"pins images since 1\.7"):
        hand_over([image.partition("@")[0]], pin=True, home=home)

    (row,) = table(home)
    assert (row["in use"], row["pinned"]) == ("no", "no")
    assert "not pinned" in row["why not"]
