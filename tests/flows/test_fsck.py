"""The flow ``fsck``: a run that fails while something is damaged, and repairs when asked to."""

from pathlib import Path

import pytest

from flows.fsck import fsck
from flows.pull import pull
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.registries import FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_damage_fails_the_run_until_it_is_repaired(home: str, demo_layout: Path) -> None:
    layer = pull(f"oci:{demo_layout}:demo", driver="native", home=home).layers[1]
    name = "localhost/demo:latest"
    assert fsck(home=home).damaged == 0
    flip(open_node(home).content.path(Digest(layer.diff_id)))

    state = fsck(name, home=home, return_state=True)
    mended = fsck(repair=True, home=home)

    assert state.is_failed()
    assert "damaged" in (state.message or "")
    assert mended.damaged == 0
    assert next(each.how for each in mended.images[0].mended) == "decompressed again"
    assert fsck(name, home=home).images[0].found.damaged == ()


def test_an_image_under_another_name_is_repaired_from_where_it_was_pulled(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.domain}/app:demo"
    digest = pull(reference, name="localhost/mine:1", driver="native", namespace="ci", home=home).layers[0].digest
    node = open_node(home, "ci")
    assert node.images.get("localhost/mine:1").labels == {"prestow.source": reference}
    flip(node.content.path(Digest(digest)))

    state = fsck(home=home, return_state=True)
    mended = fsck(repair=True, home=home)

    assert "of ci: localhost/mine:1" in (state.message or "")
    assert [each.found.shown for each in mended.every] == ["ci: localhost/mine:1", "the store"]
    assert [each.how for each in mended.images[0].mended] == ["fetched again"]
