"""``dry_run``: it says what the pull then does, and leaves nothing that a prune does not remove."""

import json
from pathlib import Path

import pytest

from flows.forms.results import Foreseen, Pulled
from flows.prune import prune
from flows.pull import pull
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, NotFoundError
from prestow.registry.quota import Quota
from prestow.store.node import open_node
from tests.artifacts import helm_chart, write_artifact
from tests.hosts_files import mirrored
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")

HUB = {"RateLimit-Limit": "100;w=21600", "docker-ratelimit-source": "192.0.2.1"}


def foreseen(reference: str, home: str) -> tuple[Pulled, Foreseen]:
    pulled = pull(reference, home=home, dry_run=True)
    assert pulled.foreseen is not None
    return pulled, pulled.foreseen


def test_a_dry_run_fetches_no_layer_names_nothing_and_says_what_the_pull_then_fetches(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"

    told, outlook = foreseen(reference, home)

    layers = {f"/blobs/{layer.digest}" for layer in told.layers}
    assert [seen.path for seen in fault_registry.requests() if any(map(seen.path.endswith, layers))] == []
    assert open_node(home).images.list() == ()
    assert open_node(home).snapshots() == []
    assert (told.checkpoint, told.platform, told.fetched_bytes) == ("manifest-stored", "linux/amd64", 0)
    assert [(layer.state, layer.missing_bytes) for layer in told.layers] == [
        ("missing", each.size) for each in told.layers
    ]
    assert (outlook.server, outlook.set_aside, outlook.quota) == (fault_registry.domain, (), None)
    assert outlook.fits
    assert outlook.needed_bytes > outlook.fetch_bytes > outlook.reuse_bytes == 0

    pulled = pull(reference, home=home)

    assert (pulled.digest, pulled.manifest_digest) == (told.digest, told.manifest_digest)
    assert (pulled.fetched_bytes, pulled.reused_bytes) == (outlook.fetch_bytes, 0)
    assert pulled.foreseen is None
    assert [layer.missing_bytes for layer in pulled.layers] == [0, 0, 0]


def test_a_dry_run_without_unpacking_foresees_an_artifact_too(home: str, fault_registry: FaultRegistry) -> None:
    write_artifact(fault_registry.layout, helm_chart, ref="chart")
    reference = f"{fault_registry.own}/app:chart"

    told = pull(reference, home=home, dry_run=True, unpack=False)
    pulled = pull(reference, home=home, unpack=False)

    assert told.foreseen is not None
    assert told.foreseen.fits
    assert told.foreseen.fetch_bytes == pulled.fetched_bytes == sum(layer.size for layer in told.layers)
    assert pull(reference, home=home, dry_run=True, unpack=False).foreseen.fetch_bytes == 0  # type: ignore[union-attr]


def test_what_a_dry_run_stored_goes_with_the_next_prune(home: str, fault_registry: FaultRegistry) -> None:
    told, _ = foreseen(f"{fault_registry.own}/demo:demo", home)
    content = open_node(home).content
    assert content.has(Digest(told.digest))

    prune(home=home)

    assert not content.has(Digest(told.digest))


def test_bytes_that_a_broken_pull_left_are_reused(home: str, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    first, *_ = pull(reference, stop_after="manifest-stored", home=home).layers
    fault_registry.on(f"/blobs/{first.digest}", Fault(drop_after=300), times=1)
    fault_registry.on(f"/blobs/{first.digest}", Fault(status=404), times=1)
    with pytest.raises(NotFoundError):
        pull(reference, home=home)

    told, outlook = foreseen(reference, home)

    missing = {layer.digest: layer.missing_bytes for layer in told.layers}
    assert missing[first.digest] == first.size - 300
    assert outlook.fetch_bytes == sum(missing.values())
    assert outlook.reuse_bytes == sum(layer.size for layer in told.layers) - outlook.fetch_bytes
    assert pull(reference, home=home).fetched_bytes == outlook.fetch_bytes


def test_the_quota_is_the_registry_s_latest_word(home: str, fault_registry: FaultRegistry) -> None:
    for left in (76, 75):
        fault = Fault(headers={**HUB, "RateLimit-Remaining": f"{left};w=21600"})
        fault_registry.on("/manifests/", fault, times=1)
    fault_registry.on("/blobs/", Fault(headers={**HUB, "RateLimit-Remaining": "1;w=1"}))  # of a server of another owner

    _, outlook = foreseen(f"{fault_registry.own}/demo:demo", home)

    assert outlook.quota == Quota(75, 100, 21600, None, "192.0.2.1")


def test_a_mirror_that_is_set_aside_is_named_with_its_reason(
    home: str, tmp_path: Path, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultRegistry(fault_registry.layout) as mirror:
        mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        monkeypatch.setenv("PRESTOW_HOSTS_DIRS", json.dumps([str(tmp_path / "hosts")]))
        reference = f"{fault_registry.own}/demo:demo"
        _, well = foreseen(reference, home)
        mirror.on("", Fault(status=500))

        _, outlook = foreseen(reference, home)

    assert (well.server, well.set_aside) == (mirror.domain, ())
    assert outlook.server == fault_registry.domain
    assert [aside.origin for aside in outlook.set_aside] == [mirror.url]
    assert "500" in outlook.set_aside[0].why


def test_an_image_that_is_here_by_its_digest_needs_no_server(home: str, fault_registry: FaultRegistry) -> None:
    digest = pull(f"{fault_registry.own}/demo:demo", home=home).digest
    asked = len(fault_registry.requests())

    _, outlook = foreseen(f"{fault_registry.own}/demo@{digest}", home)

    assert (outlook.server, outlook.fetch_bytes) == (None, 0)
    assert len(fault_registry.requests()) == asked


def test_an_image_that_does_not_fit_is_told_of_and_not_refused(
    home: str, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", str(1 << 60))

    _, outlook = foreseen(f"oci:{demo_layout}:demo", home)

    assert (outlook.fits, outlook.free_bytes, outlook.server) == (False, 0, str(demo_layout))
    with pytest.raises(ExhaustedError):
        pull(f"oci:{demo_layout}:demo", home=home)


@pytest.mark.parametrize("option", ["stop_after", "hold_after"])
def test_a_dry_run_neither_stops_nor_is_held_elsewhere(home: str, demo_layout: Path, option: str) -> None:
    with pytest.raises(InvalidError, match="leave out stop_after and hold_after"):
        pull(f"oci:{demo_layout}:demo", home=home, dry_run=True, **{option: "resolved"})
