"""Checkpoints as others see them: one event each, on which an automation can trigger."""

from pathlib import Path

import pytest
from prefect import flow

from flows.local_server.ensure import Server
from prestow.checkpoints import CHECKPOINTS, REACHED
from prestow.digest import Digest
from prestow.store.node import Node
from tasks.checkpoint import reached
from tasks.policy import NOWHERE
from tests.prefect_records import events, flow_run_id

NAME = "docker.io/library/ubuntu:24.04"
DIGEST = Digest.of(b"image")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a store by its identity alone; a checkpoint needs no more of it."""
    return Node(tmp_path, "store-1")


def test_each_checkpoint_of_a_run_is_an_event_about_the_image(prefect_server: Server, node: Node) -> None:
    @flow(persist_result=False, result_storage=NOWHERE)
    def run() -> None:
        for checkpoint in CHECKPOINTS:
            reached(checkpoint, node, NAME, DIGEST)

    received = events(flow_run_id(run(return_state=True)), len(CHECKPOINTS))

    assert [event.event for event in received] == [f"prestow.{checkpoint}" for checkpoint in CHECKPOINTS]
    assert {event.resource.id for event in received} == {f"prestow.image.{NAME}"}
    roles = {resource.role: resource.id for resource in received[0].related}
    assert roles["digest"] == f"prestow.digest.{DIGEST}"
    assert roles["host"] == f"prestow.host.{node.host}"
    assert roles["store"] == "prestow.store.store-1"
    assert "flow-run" in roles


def test_outside_a_run_nothing_is_sent_and_nothing_fails(node: Node) -> None:
    reached("tagged", node, NAME, DIGEST)


def test_an_event_that_is_too_large_fails_no_step(prefect_server: Server, node: Node) -> None:
    @flow(persist_result=False, result_storage=NOWHERE)
    def run() -> str:
        reached("tagged", node, "n" * 3_000_000, DIGEST)
        return "went on"

    assert run() == "went on"


def test_the_checkpoints_stand_in_the_order_in_which_an_image_reaches_them() -> None:
    assert CHECKPOINTS == (
        "resolved",
        "manifest-stored",
        "layer-fetched",
        "layer-stored",
        "layer-applied",
        "unpacked",
        "tagged",
        "handed-over",
        "config-transformed",
        "snapshot-created",
        "bundled",
        "running",
        "exited",
    )


def test_the_page_of_the_checkpoints_says_when_each_is_reached() -> None:
    page = Path("docs/reference/checkpoints.md").read_text("utf-8")

    assert tuple(REACHED) == CHECKPOINTS
    assert [text for text in REACHED.values() if text not in page] == []
