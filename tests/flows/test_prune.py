"""The flow ``prune``: what nothing holds goes, and only that."""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.prune import prune
from flows.pull import pull
from prestow.containers.create import remove_container
from prestow.errors import NotFoundError
from prestow.gc.prune import Pruned
from prestow.metadata.tag import untag
from prestow.store.node import open_node
from tests.prefect_records import flow_run_id, task_runs
from tests.registries import Fault, FaultRegistry

DAY = 86400.0

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_what_a_name_holds_stays(home: str, demo: str) -> None:

    swept = prune(home=home)

    assert swept == Pruned()


def test_what_a_container_holds_stays_and_then_goes(home: str, tmp_path: Path, demo: str) -> None:
    bundle(demo, str(tmp_path / "bundle"), id="c", home=home)
    node = open_node(home)
    untag(node.database, node.content, demo)

    held = prune(home=home)
    assert (tmp_path / "bundle/rootfs/etc/motd").read_text()
    remove_container(node, "c")
    freed = prune(home=home)

    assert len(held.of("blob")) == 1  # the index; its manifest is what the container was made from
    assert list(node.content.walk()) == []
    assert node.snapshots() == []
    assert freed.bytes > 0


def test_after_a_prune_everything_is_pulled_again(home: str, demo: str, demo_layout: Path) -> None:
    node = open_node(home)
    untag(node.database, node.content, demo)
    prune(home=home)

    state = pull(f"oci:{demo_layout}:demo", home=home, return_state=True)

    assert {run.state_name for run in task_runs(flow_run_id(state), 13)} == {"Completed"}
    assert state.result().reused_bytes == 0


def test_a_dry_run_removes_nothing(home: str, demo: str) -> None:
    node = open_node(home)
    untag(node.database, node.content, demo)

    told = prune(dry_run=True, home=home)
    done = prune(home=home)

    assert told == replace(done, dry_run=True)
    assert done.bytes > 0


def test_what_a_stopped_or_failed_pull_has_stays_until_one_of_the_name_is_complete(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    node = open_node(home)
    pull(reference, stop_after="layer-stored", home=home)
    (stopped,) = node.leases.list()
    assert (stopped.owner, stopped.pid) == (f"pull {reference}", None)
    assert 6.9 * DAY < node.leases.remaining(stopped) <= 7 * DAY
    before = {info.digest for info in node.content.walk()}

    assert prune(home=home) == Pruned()
    fault_registry.on("/manifests/", Fault(status=404), times=1)
    with pytest.raises(NotFoundError):
        pull(reference, home=home)
    assert prune(home=home) == Pruned()
    assert {info.digest for info in node.content.walk()} == before
    assert len(node.leases.list()) == 2

    pull(reference, home=home)
    assert node.leases.list() == ()
    assert node.image(reference).used_at is not None


def test_what_nobody_goes_on_with_in_time_goes(home: str, demo_layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_INGEST_DAYS", "1e-9")
    pull(f"oci:{demo_layout}:demo", stop_after="layer-fetched", home=home)
    node = open_node(home)
    assert node.leases.list() == ()

    swept = prune(home=home)

    assert {each.why for each in swept.removed if each.kind == "ingest"} == {"not resumed in time"}
    assert (list(node.content.walk()), list(node.content.statuses())) == ([], [])
    assert node.database.read("SELECT * FROM leases") == []


def test_what_a_stopped_pull_has_goes_at_once_on_request(home: str, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", stop_after="layer-fetched", home=home)
    node = open_node(home)

    told = prune(dry_run=True, unfinished=True, home=home)
    done = prune(unfinished=True, home=home)

    assert told == replace(done, dry_run=True)
    assert sum(ref.startswith("layer-") for ref in done.of("ingest")) == 3
    assert (list(node.content.walk()), list(node.content.statuses()), node.leases.list()) == ([], [], ())


def test_rules_of_retention_are_parameters_of_the_flow(home: str, demo: str) -> None:
    node = open_node(home)
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE images SET used_at = 0, updated_at = 0")
    node.images.label(demo, {"prestow.keep": "true"})

    assert prune(unused_days=30, above=0.001, home=home) == Pruned()

    node.images.label(demo, {"prestow.keep": None})
    assert prune(unused_days=30, home=home).of("image") == (demo,)
    assert list(node.content.walk()) == []
