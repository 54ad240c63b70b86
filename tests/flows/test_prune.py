"""The flow ``prune``: what nothing holds goes, and only that."""

from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.prune import prune
from flows.pull import pull
from prestow.container import remove_container
from prestow.metadata.tag import untag
from prestow.node import open_node
from tests.prefect_records import flow_run_id, task_runs

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_what_a_name_holds_stays(home: str, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", home=home)

    swept = prune(home=home)

    assert (swept.blobs, swept.snapshots, swept.bytes) == ((), (), 0)


def test_what_a_container_holds_stays_and_then_goes(home: str, tmp_path: Path, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", home=home)
    bundle("demo", str(tmp_path / "bundle"), id="c", home=home)
    node = open_node(home)
    untag(node.database, node.content, "localhost/demo:latest")

    held = prune(home=home)
    assert (tmp_path / "bundle/rootfs/etc/motd").read_text()
    remove_container(node, "c")
    freed = prune(home=home)

    assert len(held.blobs) == 1  # the index; its manifest is what the container was made from
    assert list(node.content.walk()) == []
    assert node.snapshots() == []
    assert freed.bytes > 0


def test_after_a_prune_everything_is_pulled_again(home: str, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", home=home)
    node = open_node(home)
    untag(node.database, node.content, "localhost/demo:latest")
    prune(home=home)

    state = pull(f"oci:{demo_layout}:demo", home=home, return_state=True)

    assert {run.state_name for run in task_runs(flow_run_id(state), 13)} == {"Completed"}
    assert state.result().reused_bytes == 0


def test_a_dry_run_removes_nothing(home: str, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", home=home)
    node = open_node(home)
    untag(node.database, node.content, "localhost/demo:latest")

    told = prune(dry_run=True, home=home)
    done = prune(home=home)

    assert told == done
    assert done.bytes > 0
