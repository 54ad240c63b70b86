"""Flows that meet a layer that rotted on the disk: a pull fetches it again, a bundle says what to do."""

import pytest

from flows.bundle import bundle
from flows.pull import pull
from prestow.digest import Digest
from prestow.errors import MismatchError
from prestow.store.node import Node, open_node
from tests.conformance.snapshotter_damage import flip
from tests.registries import FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def reference(fault_registry: FaultRegistry) -> str:
    return f"{fault_registry.domain}/app:demo"


@pytest.fixture
def rotten(home: str, reference: str) -> Digest:
    """A layer that was pulled, and has to be applied again, and has rotted meanwhile."""
    pulled = pull(reference, driver="native", home=home)
    node, layer = open_node(home), pulled.layers[0]
    _forget_snapshots(node)
    node.content.delete(Digest(layer.diff_id))
    flip(node.content.path(Digest(layer.digest)))
    return Digest(layer.digest)


def _forget_snapshots(node: Node) -> None:
    driver = node.snapshotter("native")
    for info in reversed(list(driver.walk())):
        driver.remove(info.key)


def test_a_pull_fetches_it_again_by_itself(
    home: str, reference: str, rotten: Digest, fault_registry: FaultRegistry
) -> None:
    fault_registry.seen.clear()

    pulled = pull(reference, driver="native", home=home)

    assert pulled.checkpoint == "tagged"
    assert [seen.path for seen in fault_registry.requests("/blobs/", "GET")] == [f"/v2/app/blobs/{rotten}"]
    assert open_node(home).content.check(rotten).digest == rotten


def test_a_bundle_that_may_not_fetch_says_so_and_one_that_may_pulls(home: str, reference: str, rotten: Digest) -> None:
    with pytest.raises(MismatchError, match=f"{rotten}, was corrupt on disk, and is in quarantine now; pull"):
        bundle(reference, id="c1", copied=True, driver="native", home=home)

    bundle(reference, id="c1", copied=True, pull="missing", driver="native", home=home)

    assert open_node(home).content.check(rotten).digest == rotten
