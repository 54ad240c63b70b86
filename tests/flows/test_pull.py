"""The flow ``pull`` against a real registry and a real Prefect server."""

import json
import subprocess
from pathlib import Path

import pytest

from flows.pull import pull
from prestow.digest import Digest
from prestow.errors import ExhaustedError, MismatchError, NotFoundError
from prestow.oci.descriptor import Descriptor
from prestow.store.node import open_node
from tests.image_factory import put_index, tag
from tests.prefect_records import events, flow_run_id, task_runs
from tests.real_images import RealImages
from tests.registries import DockerRegistry, Fault, FaultRegistry
from tests.trees import listing

pytestmark = pytest.mark.usefixtures("prefect_server")


def states(run: object, count: int) -> dict[str, str]:
    return {task_run.name: task_run.state_name for task_run in task_runs(flow_run_id(run), count)}


def test_a_pull_reports_what_it_did(home: str, docker_registry: DockerRegistry, demo_layout: Path) -> None:
    reference = docker_registry.push(demo_layout, "demo", "pull/reports:1")

    pulled = pull(reference, home=home)

    assert pulled.name == reference
    assert pulled.checkpoint == "tagged"
    assert pulled.platform == "linux/amd64"
    assert [layer.state for layer in pulled.layers] == ["applied"] * 3
    assert [layer.fetched_bytes for layer in pulled.layers] == [layer.size for layer in pulled.layers]
    assert pulled.fetched_bytes == sum(layer.size for layer in pulled.layers)
    assert pulled.reused_bytes == 0
    assert pulled.seconds.keys() >= {"total", "resolve", "fetch_manifest", "fetch_layer", "verify", "apply", "tag"}
    assert open_node(home).image(reference).target.digest == pulled.digest


def test_the_second_pull_fetches_nothing_and_says_so(
    home: str, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "pull/twice:1")
    first = pull(reference, home=home)

    second = pull(reference, home=home, return_state=True)

    again = second.result()
    assert (again.digest, again.chain_id) == (first.digest, first.chain_id)
    assert again.fetched_bytes == 0
    assert again.reused_bytes == first.fetched_bytes
    found = states(second, 13)
    assert found.pop(f"resolve {reference}") == "Completed"
    assert set(found.values()) == {"Cached"}


def test_another_platform_of_the_same_index(home: str, docker_registry: DockerRegistry, demo_layout: Path) -> None:
    reference = docker_registry.push(demo_layout, "demo", "pull/platforms:1")

    arm = pull(reference, platform="linux/arm64", home=home)
    amd = pull(reference, home=home)

    assert (arm.platform, amd.platform) == ("linux/arm64", "linux/amd64")
    assert arm.digest == amd.digest
    assert arm.manifest_digest != amd.manifest_digest


def test_a_platform_that_is_not_there_is_named(home: str, docker_registry: DockerRegistry, demo_layout: Path) -> None:
    reference = docker_registry.push(demo_layout, "demo", "pull/no-platform:1")

    with pytest.raises(NotFoundError, match="linux/riscv64"):
        pull(reference, platform="linux/riscv64", home=home)


def test_an_image_of_more_layers_than_the_setting_allows_is_refused_before_one_is_fetched(
    home: str, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_MAX_LAYERS", "2")

    with pytest.raises(ExhaustedError, match="3 layers"):
        pull(f"{fault_registry.domain}/team/demo:demo", home=home)

    assert fault_registry.requests("/blobs/") == []


def test_an_image_behind_two_indexes_is_pulled(home: str, fault_registry: FaultRegistry) -> None:
    (named,) = json.loads((fault_registry.layout / "index.json").read_bytes())["manifests"]
    index = Descriptor(named["mediaType"], Digest.parse(named["digest"]), named["size"])
    nested = tag(fault_registry.layout, put_index(fault_registry.layout, [index]), "nested")

    for _ in range(2):
        pulled = pull(f"{fault_registry.domain}/team/demo:nested", home=home)
        assert (pulled.digest, pulled.checkpoint) == (nested.digest, "tagged")
    assert pulled.fetched_bytes == 0


def test_a_digest_reference_is_pulled_and_then_not_asked_for_again(home: str, fault_registry: FaultRegistry) -> None:
    tagged = pull(f"{fault_registry.domain}/team/demo:demo", home=home)
    reference = f"{fault_registry.domain}/team/demo@{tagged.digest}"
    asked = len(fault_registry.requests())

    pulled = pull(reference, home=home)

    assert pulled.name == reference
    assert len(fault_registry.requests()) == asked


def test_a_pull_stops_where_it_is_told_and_goes_on_from_there(home: str, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"

    for checkpoint in ("resolved", "manifest-stored", "layer-fetched", "layer-stored", "layer-applied", "unpacked"):
        assert pull(reference, stop_after=checkpoint, home=home).checkpoint == checkpoint
        assert open_node(home).images.list() == ()
    assert pull(reference, home=home).checkpoint == "tagged"

    blobs = [seen.path for seen in fault_registry.requests("/blobs/", "GET")]
    assert len(blobs) == len(set(blobs))


def test_a_blob_deleted_by_hand_makes_exactly_its_steps_run_again(home: str, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    pulled = pull(reference, home=home)
    content, diff_id = open_node(home).content, pulled.layers[1].diff_id

    content.path(open_node(home).snapshots()[1].diff_id).unlink()
    found = states(pull(reference, home=home, return_state=True), 13)

    executed = {name for name, state in found.items() if state != "Cached"}
    assert executed == {f"resolve {reference}", f"apply {diff_id[:19]} (layer 2/3)"}


def test_a_registry_that_is_down_twice_costs_that_step_two_more_attempts(
    home: str, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/.*", Fault(status=503, headers={"Retry-After": "0"}), times=2, method="GET")

    state = pull(f"{fault_registry.domain}/team/demo:demo", stop_after="manifest-stored", home=home, return_state=True)

    attempts = {task_run.name.split()[1]: task_run.run_count for task_run in task_runs(flow_run_id(state), 2)}
    assert state.is_completed()
    assert attempts["manifest"] == 3


def test_wrong_bytes_fail_at_once_and_nothing_is_stored(home: str, fault_registry: FaultRegistry) -> None:
    first = pull(f"{fault_registry.domain}/team/demo:demo", stop_after="manifest-stored", home=home)
    layer = Digest(first.layers[0].digest)
    fault_registry.on(f"/blobs/{layer}", Fault(body=bytes(first.layers[0].size)))

    state = pull(f"{fault_registry.domain}/team/demo:demo", home=home, return_state=True)

    with pytest.raises(MismatchError):
        state.result()
    runs = {run.name.split(" (")[0]: run for run in task_runs(flow_run_id(state), 7)}
    assert runs[f"verify {layer[:19]}"].run_count == 1
    node = open_node(home)
    assert not node.content.has(layer)
    assert node.images.list() == ()


def test_each_step_is_an_event(home: str, docker_registry: DockerRegistry, demo_layout: Path) -> None:
    reference = docker_registry.push(demo_layout, "demo", "pull/events:1")

    state = pull(reference, home=home, return_state=True)

    found = events(flow_run_id(state), 13)
    names = [event.event for event in found]
    assert names[:2] == ["prestow.resolved", "prestow.manifest-stored"]
    assert names[-2:] == ["prestow.unpacked", "prestow.tagged"]
    assert sorted(names[2:-2]) == sorted(["prestow.layer-fetched", "prestow.layer-stored", "prestow.layer-applied"] * 3)
    assert {event.resource.id for event in found} == {f"prestow.image.{reference}"}
    node, roles = open_node(home), [{each.role: each.id for each in event.related} for event in found]
    assert {each["host"] for each in roles} == {f"prestow.host.{node.host}"}
    assert {each["store"] for each in roles} == {f"prestow.store.{node.store_id}"}
    image = state.result()
    assert [roles[n]["digest"] for n in (0, 1, -2, -1)] == [
        f"prestow.digest.{digest}" for digest in (image.digest, image.manifest_digest, image.chain_id, image.digest)
    ]
    assert {each["digest"] for each in roles[2:-2]} == {
        f"prestow.digest.{digest}" for layer in image.layers for digest in (layer.digest, layer.diff_id)
    }


def test_an_image_moves_through_a_layout_without_a_network(home: str, demo_layout: Path) -> None:
    pulled = pull(f"oci:{demo_layout}:demo", name="registry.example/team/demo:1", home=home)

    assert pulled.name == "registry.example/team/demo:1"
    assert open_node(home).image("registry.example/team/demo:1").target.digest == pulled.digest


@pytest.mark.parametrize("variant", ["oci", "zstd"])  # Docker's documents: see docs/explanation/content-store.md
def test_other_tools_read_our_content_store_as_it_is(
    home: str, tmp_path: Path, docker_registry: DockerRegistry, real_images: RealImages, variant: str
) -> None:
    reference = real_images.push(docker_registry, "tiny", variant)
    pulled = pull(reference, home=home)
    image = f"oci:{home}/content:{reference}"

    inspected = subprocess.run(["skopeo", "inspect", "--raw", image], check=True, capture_output=True)

    assert open_node(home).content.read(open_node(home).image(reference).target.digest) == inspected.stdout
    assert pulled.fetched_bytes > 0
    if variant == "oci":  # umoci does not know zstd
        place = f"{home}/content:{reference}"
        subprocess.run(["umoci", "unpack", "--image", place, tmp_path / "umoci"], check=True, capture_output=True)
        assert listing(tmp_path / "umoci/rootfs") == real_images.unpacked("tiny", tmp_path / "expected")
