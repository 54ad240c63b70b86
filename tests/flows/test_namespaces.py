"""Namespaces: names and containers of each alone; bytes and snapshots of all, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from flows.run import run
from prestow.containers.create import remove_container
from prestow.errors import NotFoundError
from prestow.metadata.tag import untag
from prestow.store.node import Node, open_node
from tests.prefect_records import flow_run_id, task_runs

pytestmark = pytest.mark.usefixtures("prefect_server")

DEMO = "localhost/demo:latest"


@pytest.fixture
def nodes(home: str) -> Iterator[tuple[Node, Node]]:
    """The store, seen by two namespaces; their containers are removed at the end."""
    both = open_node(home, "default"), open_node(home, "team-a")
    yield both
    for node in both:
        for record in node.containers.list():
            remove_container(node, record.id)


def test_a_second_namespace_names_what_the_first_one_fetched(
    home: str, demo_layout: Path, nodes: tuple[Node, Node]
) -> None:
    ours, theirs = nodes
    pull(f"oci:{demo_layout}:demo", home=home)
    assert theirs.images.list() == ()

    state = pull(f"oci:{demo_layout}:demo", home=home, namespace="team-a", return_state=True)

    assert state.result().fetched_bytes == 0
    assert {run.state_name for run in task_runs(flow_run_id(state), 13) if run.name.startswith("apply")} == {"Cached"}
    assert [record.name for record in theirs.images.list()] == [DEMO]
    assert ours.snapshots() == theirs.snapshots()


def test_one_namespace_neither_finds_nor_removes_another_s_names(
    home: str, demo_layout: Path, nodes: tuple[Node, Node]
) -> None:
    ours, theirs = nodes
    pull(f"oci:{demo_layout}:demo", home=home, namespace="team-a")

    with pytest.raises(NotFoundError, match="demo"):
        ours.image("demo")
    with pytest.raises(NotFoundError, match="demo"):
        untag(ours.database, ours.content, DEMO)
    with pytest.raises(NotFoundError, match="demo"):
        run("demo", home=home, pull="never")

    assert theirs.image("demo").name == DEMO


def test_containers_of_two_namespaces_may_bear_one_id(home: str, demo_layout: Path, nodes: tuple[Node, Node]) -> None:
    ours, theirs = nodes
    for namespace in ("default", "team-a"):
        ran = run(f"oci:{demo_layout}:demo", ("exit", "3"), id="box", check=False, home=home, namespace=namespace)
        assert ran.status == 3

    records = [node.containers.get("box") for node in nodes]
    assert [Path(record.bundle).relative_to(home).as_posix() for record in records] == [
        "bundles/box",
        "namespaces/team-a/bundles/box",
    ]
    assert {info.key for info in ours.snapshots() if info.kind.value == "active"} == {"box", "team-a/box"}

    remove_container(ours, "box")

    assert theirs.containers.get("box") == records[1]
    with pytest.raises(NotFoundError):
        remove_container(ours, "box")


def test_prune_keeps_what_any_namespace_names(home: str, demo_layout: Path, nodes: tuple[Node, Node]) -> None:
    ours, theirs = nodes
    pull(f"oci:{demo_layout}:demo", home=home)
    pull(f"oci:{demo_layout}:demo", home=home, namespace="team-a")
    untag(ours.database, ours.content, DEMO)

    held = prune(home=home)
    untag(theirs.database, theirs.content, DEMO, namespace="team-a")
    freed = prune(home=home)

    assert held.removed == ()
    assert freed.bytes > 0
    assert list(ours.content.walk()) == []


def test_prepull_names_in_its_namespace(home: str, demo_layout: Path, nodes: tuple[Node, Node]) -> None:
    prepull([f"oci:{demo_layout}:demo"], home=home, namespace="team-a")

    assert [[record.name for record in node.images.list()] for node in nodes] == [[], [DEMO]]


def test_the_environment_chooses_where_nobody_does(
    home: str, demo_layout: Path, nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_NAMESPACE", "team-a")

    pull(f"oci:{demo_layout}:demo", home=home)

    assert [[record.name for record in node.images.list()] for node in nodes] == [[], [DEMO]]
