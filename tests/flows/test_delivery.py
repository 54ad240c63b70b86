"""The flow ``prepull`` with an order of the fleet: by digest, under leases, with names, or refused."""

import json
import math
import os
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun

from flows.fanout import PrepullError
from flows.prepull import prepull
from prestow.content.refs import layer_ref
from prestow.errors import InvalidError, PreconditionError, RefusedError
from prestow.gc.prune import Choice, prune
from prestow.store.node import open_node
from tests.image_factory import write_demo_image
from tests.orders import delivered, locked, names, order, pins
from tests.prefect_records import flow_run_id, runs_of
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


def digest(reference: str) -> str:
    return reference.partition("@")[2]


def latest(home: str, flow: str = "prepull") -> FlowRun:
    return runs_of(flow, home)[0]


def test_images_are_pulled_by_digest_named_and_leased_without_an_end(home: str, fault_registry: FaultRegistry) -> None:
    images = [locked(fault_registry, "team/a:1"), locked(fault_registry, "team/b:2")]

    result = prepull(images, home=home, parallel=2, order=order(home))

    node = open_node(home)
    assert [image.name for image in result.images] == [image.partition("@")[0] for image in images]
    assert names(home) == {"team/a:1": digest(images[0]), "team/b:2": digest(images[1])}
    assert {seen.path.rpartition("/")[2] for seen in fault_registry.requests("/manifests/")} == set(map(digest, images))
    for image in images:
        (lease,) = pins(node)[digest(image)]
        assert (lease.owner, lease.expires_at, lease.pid) == ("image set nightly", math.inf, None)
    assert len(node.leases.list()) == 2
    assert latest(home).name == f"prepull {node.host} · 2 images"
    assert {run.name for run in runs_of("pull", home)} == {f"pull {image}" for image in images}


def test_the_name_of_a_run_says_which_host(home: str, demo_layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_NODE_NAME", "gpu-01")

    prepull([f"oci:{demo_layout}:demo"], home=home)

    assert latest(home).name == "prepull gpu-01 · 1 image"


def test_an_image_that_is_complete_needs_no_network(home: str, tmp_path: Path) -> None:
    write_demo_image(tmp_path / "registry")
    with FaultRegistry(tmp_path / "registry") as registry:
        images = [locked(registry, "team/a:1")]
        delivered(home, images)

    result = prepull(images, home=home, order=order(home, 2))

    assert [(image.error, image.fetched_bytes) for image in result.images] == [(None, 0)]
    assert len(open_node(home).leases.list()) == 1
    assert open_node(home).sets.generations()[0].generation == 2


def test_an_image_that_was_named_otherwise_meanwhile_comes_back_without_network(
    home: str, fault_registry: FaultRegistry
) -> None:
    first, second = locked(fault_registry, "team/a:1", "one"), locked(fault_registry, "team/a:1", "two")
    delivered(home, [first], 11)
    delivered(home, [second], 12)
    assert names(home) == {"team/a:1": digest(second)}
    before = len(fault_registry.requests())

    delivered(home, [first], 11)

    assert names(home) == {"team/a:1": digest(first)}
    assert len(fault_registry.requests()) == before


def test_one_that_fails_stops_no_other_and_keeps_no_lease(home: str, fault_registry: FaultRegistry) -> None:
    good, bad = locked(fault_registry, "team/good:1"), f"{fault_registry.domain}/team/bad:1@sha256:{'0' * 64}"

    with pytest.raises(PrepullError, match="1 of 2 images are not here"):
        delivered(home, [bad, good])

    node = open_node(home)
    assert names(home) == {"team/good:1": digest(good)}
    assert {lease.owner for lease in pins(node)[digest(good)]} == {"image set nightly"}
    assert digest(bad) not in {key for lease in node.leases.list() if math.isinf(lease.expires_at)
                               for key in node.leases.resources(lease.id)["content"]}  # fmt: skip
    assert [failure.image for failure in node.sets.failures()] == [bad]
    assert [each.complete for each in node.sets.generations()] == [False]


def test_an_order_for_another_host_is_refused_with_the_remedy(home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")

    with pytest.raises(PreconditionError, match=r"for host gpu-99, .*`prestow node up --name "):
        prepull([image], home=home, order=order(home, host="gpu-99"))

    assert names(home) == {}
    assert fault_registry.requests() == []


@pytest.mark.parametrize("reference", ["team/a:1", "oci:/srv/images:a"])
def test_an_order_names_digests_only(home: str, reference: str) -> None:
    with pytest.raises(InvalidError, match=r"expected name\[:tag\]@sha256:…"):
        prepull([reference], home=home, order=order(home))


def test_one_name_with_two_digests_is_an_error(home: str) -> None:
    images = [f"registry.example/a:1@sha256:{digit * 64}" for digit in "01"]

    with pytest.raises(InvalidError, match="has two digests in one order"):
        prepull(images, home=home, order=order(home))


def test_an_image_without_a_tag_keeps_its_digest_in_the_name(home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1").replace(":1@", "@")

    delivered(home, [image])

    assert names(home) == {f"team/a@{digest(image)}": digest(image)}


def test_images_that_do_not_fit_together_are_refused_before_a_layer_is_fetched(
    home: str, fault_registry: FaultRegistry
) -> None:
    images = [locked(fault_registry, "team/a:1"), locked(fault_registry, "team/b:1")]
    found = os.statvfs(Path(home).parent)

    state = prepull(images, home=home, order=order(home, free_bytes=found.f_blocks * found.f_frsize), return_state=True)

    with get_client(sync_client=True) as client:
        recorded = client.read_flow_run(flow_run_id(state)).state
    assert recorded is not None
    assert (recorded.type.value, recorded.name) == ("FAILED", "Refused")
    assert "2 images do not fit on the disk" in str(recorded.message)
    assert "they need " in str(recorded.message)
    assert "and 0 bytes are free" in str(recorded.message)
    with pytest.raises(RefusedError):
        state.result()
    layers = {
        json.loads((fault_registry.layout / f"blobs/sha256/{digest(image)[7:]}").read_bytes())["layers"][0]["digest"]
        for image in images
    }
    assert [seen for seen in fault_registry.requests("/blobs/") if seen.path.rpartition("/")[2] in layers] == []
    assert all(open_node(home).content.status(layer_ref(layer)) is None for layer in layers)
    assert [failure.image for failure in open_node(home).sets.failures()] == images
    assert open_node(home).leases.list() == ()


def test_layers_that_images_share_count_once(home: str, fault_registry: FaultRegistry) -> None:
    big = 8 << 20
    images = [locked(fault_registry, f"team/{name}:1", "the same", big) for name in "ab"]
    found = os.statvfs(Path(home).parent)

    delivered(home, images, free_bytes=found.f_bavail * found.f_frsize - (3 * big) // 2)

    assert {*names(home)} == {"team/a:1", "team/b:1"}


def test_images_that_are_here_are_never_refused(home: str, fault_registry: FaultRegistry) -> None:
    images = [locked(fault_registry, "team/a:1")]
    delivered(home, images)

    delivered(home, images, free_bytes=1 << 60)

    assert open_node(home).sets.failures() == ()


def test_the_lease_and_the_name_hold_against_every_other_cleaning(home: str, fault_registry: FaultRegistry) -> None:
    pinned, other = locked(fault_registry, "team/a:1"), locked(fault_registry, "team/b:1")
    delivered(home, [pinned])
    delivered(home, [other], of="loose", pin=False)
    node = open_node(home)

    prune(node, Choice(above=0.0001, unfinished=True))

    assert names(home) == {"team/a:1": digest(pinned)}
    node.images.remove(f"{fault_registry.domain}/team/a:1")
    prune(node, Choice(unfinished=True))
    before = len(fault_registry.requests())
    delivered(home, [pinned])
    assert len(fault_registry.requests()) == before  # all of it was still here


def test_a_cut_off_order_can_be_resumed_and_leaves_no_lease_of_its_own(
    home: str, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    fault_registry.on("/blobs/", Fault(status=500))
    with pytest.raises(PrepullError):
        delivered(home, [image])
    fault_registry._rules.clear()

    delivered(home, [image])

    node = open_node(home)
    assert [lease.owner for lease in node.leases.list()] == ["image set nightly"]
    assert node.sets.failures() == ()
