"""What a host reports: its event, its page, and when the page changes."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import ReceivedEvent

from flows.fanout import PrepullError
from flows.forms.host_page import host_page, read_page
from flows.prepull import prepull
from flows.pull import pull
from flows.rollout.reporting import is_same, last_report, publish
from flows.rollout.stock import take_stock
from prestow import __version__
from prestow.digest import Digest
from prestow.errors import InvalidError
from prestow.fleet.file import Host
from prestow.fleet.lock import short
from prestow.fleet.report import EVENT, Report, ReportedFailure, ReportedImage, artifact_key
from prestow.fsck.run import fsck
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_MANIFEST
from prestow.store.node import open_node
from tests.orders import delivered, locked, order
from tests.prefect_records import runs_of, until
from tests.registries import FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """A store on a disk of its own, whose free space no other test changes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", disk], check=True)
    yield str(disk / "store")
    node = open_node(str(disk / "store"))
    for snapshotter in node.snapshotters:
        snapshotter.cleanup()
    node.close()
    node.database.close()
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def named(home: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host of the test's own."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    monkeypatch.setenv("PRESTOW_NODE_NAME", name)
    assert open_node(home).host == name
    return str(name)


def versions(host: str) -> list[Artifact]:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key(host)]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=wanted)


def reports(host: str, count: int) -> list[ReceivedEvent]:
    about = EventResourceFilter(id=[f"prestow.host.{host}"])
    wanted = EventFilter(event=EventNameFilter(name=[EVENT]), resource=about)

    def received() -> list[ReceivedEvent]:
        with get_client(sync_client=True) as client:
            return client.read_events(wanted, limit=50).events

    return until(received, count, f"reports of {host}")


def test_a_run_by_order_reports_what_is_here(named: str, home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")
    before = datetime.now(UTC)

    delivered(home, [image], 12)

    (event,) = reports(named, 1)
    report = Report.model_validate(event.payload)
    node = open_node(home)
    pulled = pull(image, home=home)
    assert (report.host, report.store, report.version) == (named, node.store_id, __version__)
    assert report.generations == {"nightly": 12}
    (found,) = report.images
    assert (found.name, found.digest, found.complete) == (*image.split("@"), True)
    assert found.bytes == sum(layer.size for layer in pulled.layers)
    assert before - timedelta(seconds=1) <= found.verified <= report.at <= datetime.now(UTC)
    assert report.layers == {short(str(layer.diff_id)) for layer in pulled.layers}
    disk = os.statvfs(home)
    assert report.disk_bytes == disk.f_blocks * disk.f_frsize
    assert 0 < report.free_bytes < disk.f_bavail * disk.f_frsize + (64 << 20)
    assert report.rate is not None
    assert report.rate > 0
    assert report.failures == ()
    assert {each["prefect.resource.id"] for each in map(dict, event.related)} >= {"prestow.set.nightly"}
    assert report.is_current(datetime.now(UTC))


def test_the_page_of_a_run_belongs_to_it_and_changes_with_its_content_only(
    named: str, home: str, fault_registry: FaultRegistry
) -> None:
    first, second = locked(fault_registry, "team/a:1"), locked(fault_registry, "team/b:1")
    delivered(home, [first])
    delivered(home, [first])
    assert len(reports(named, 2)) == 2
    (page,) = versions(named)
    run = runs_of("prepull", home)[-1].id
    with get_client(sync_client=True) as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(run))]))
        assert [each.id for each in client.read_artifacts(artifact_filter=mine)] == [page.id]
    assert page.type == "markdown"

    delivered(home, [second], 2)
    assert len(versions(named)) == 2
    pull(first, name="third:1", home=home)
    report = publish(open_node(home))

    assert len(versions(named)) == 2  # between runs the latest one is changed
    found = last_report(named)
    assert found is not None
    assert found == report
    assert len(found.images) == 3


def test_what_failed_is_reported_until_it_is_here(named: str, home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")
    bad = image.partition("@")[0] + f"@sha256:{'0' * 64}"

    with pytest.raises(PrepullError):
        delivered(home, [bad])
    first = last_report(named)
    delivered(home, [image])
    second = last_report(named)

    assert first is not None
    assert second is not None
    assert [each.image for each in first.failures] == [bad]
    assert "404" in first.failures[0].error
    assert second.failures == ()


def test_a_refused_order_is_reported(named: str, home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")

    prepull([image], home=home, order=order(home, free_bytes=1 << 60), return_state=True)

    report = last_report(named)
    assert report is not None
    assert "do not fit" in report.failures[0].error


def corrupt(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))


def test_verified_is_the_last_time_that_all_bytes_were_compared(home: str, fault_registry: FaultRegistry) -> None:
    image = locked(fault_registry, "team/a:1")
    delivered(home, [image])
    node = open_node(home)
    (pulled,) = take_stock(node).images
    fsck(node, None)
    (checked,) = take_stock(node).images
    assert checked.verified > pulled.verified

    corrupt(
        node.content.path(Digest.parse(str(pull(image, name=image.partition("@")[0], home=home).layers[0].diff_id)))
    )
    fsck(node, None)
    (damaged,) = take_stock(node).images
    fsck(node, None, repair=True)
    (repaired,) = take_stock(node).images

    assert (checked.complete, damaged.complete, repaired.complete) == (True, False, True)
    assert repaired.verified > checked.verified


def test_an_image_of_which_a_layer_or_the_snapshot_is_missing_is_not_complete(
    home: str, fault_registry: FaultRegistry
) -> None:
    image = locked(fault_registry, "team/a:1")
    layers = pull(image, name="a:1", stop_after="layer-applied", home=home).layers
    node = open_node(home)
    digest = Digest.parse(image.partition("@")[2])
    node.images.put("docker.io/library/a:1", Descriptor(OCI_MANIFEST, digest, node.content.info(digest).size))

    (stopped,) = take_stock(node).images
    pull(image, name="a:1", home=home)
    (complete,) = take_stock(node).images
    node.content.path(Digest.parse(str(layers[0].diff_id))).unlink()
    (without,) = take_stock(node).images

    assert (stopped.complete, complete.complete, without.complete) == (False, True, False)
    assert short(str(layers[0].diff_id)) not in take_stock(node).layers


REPORT = Report(
    host="gpu-01",
    store="abc",
    at=NOW,
    interval=900,
    version="1",
    platform="linux/amd64",
    generations={"nightly": 12},
    images=(
        ReportedImage(name="a`|b](http://evil)<b>", digest=f"sha256:{'0' * 64}", verified=NOW, complete=True, bytes=3),
    ),
    layers=frozenset({"00", "11"}),
    free_bytes=10 << 30,
    disk_bytes=100 << 30,
    rate=3.5 * (1 << 20),
    failures=(ReportedFailure(image="x", error="```\n# no | heading", at=NOW),),
)


def test_the_page_ends_with_the_report_whatever_is_in_it() -> None:
    page = host_page(REPORT)

    assert read_page(page) == REPORT
    above = page.partition("```json")[0].splitlines()
    assert "# Host `gpu-01`" in above
    assert any("10.0 GiB of 100.0 GiB" in line and "3.5 MiB/s" in line for line in above)
    assert any(line.startswith(r"| `` a`\x7cb](http://evil)<b> `` |") and "12:00 UTC | 3 B |" in line for line in above)
    assert r"| `x` | ```` ```\n# no \x7c heading ```` | 2026-10-05 12:00 UTC |" in above


def test_a_page_without_a_report_is_an_error() -> None:
    for page in ("", "```json\n{}\n```", host_page(REPORT).replace('"store"', '"stored"')):
        with pytest.raises(InvalidError):
            read_page(page)


def test_the_free_space_may_move_a_little_without_being_news() -> None:
    def later(**changes: object) -> Report:
        return REPORT.model_copy(update={"at": NOW + timedelta(hours=1), **changes})

    assert is_same(REPORT, later(free_bytes=(10 << 30) + (4 << 30)))
    assert not is_same(REPORT, later(free_bytes=(10 << 30) + (6 << 30)))
    assert not is_same(REPORT, later(images=()))
    assert not is_same(REPORT, later(store="other"))


def test_the_key_is_that_of_the_fleet_file() -> None:
    for name in ("gpu-01", "gpu-01.rack-2.example"):
        assert artifact_key(name) == f"prestow-host-{Host(name=name).key}"
