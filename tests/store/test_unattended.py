"""Containers whose runner was killed: told of, and ended and removed where they were to be removed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prestow.containers.process import shown_status, stop
from prestow.digest import Digest
from prestow.metadata.container_files import ContainerRecord
from prestow.runtime.bundle import claim_root, write_bundle
from prestow.store.in_progress import COPY
from prestow.store.node import Node, open_node
from prestow.store.unattended import to_remove
from tests.processes import Child
from tests.runtime.busybox import make_rootfs, make_spec

ROOT = Path(__file__).parents[2]
RUNNER = """
import sys
from contextlib import nullcontext
from prestow.store.node import open_node
from prestow.containers.process import run_bundle
from prestow.store.unattended import removed_afterwards
node = open_node(sys.argv[1])
with removed_afterwards(node.home / "bundles", "lost", print) if sys.argv[2] == "rm" else nullcontext():
    run_bundle(node, "lost")
"""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A store with a container ``lost`` that ignores SIGTERM."""
    node = open_node(tmp_path / "store")
    place = node.bundle_folder("lost")
    make_rootfs(claim_root(place))
    spec = make_spec(place / "rootfs", {"Cmd": ["sh", "-c", "trap '' TERM; echo ready; sleep 1000 & wait; wait"]})
    write_bundle(spec, place, rootfs="filled")
    node.containers.put(
        ContainerRecord("default", "lost", "image", Digest.of(b""), COPY, "", str(place), created_at=time.time())
    )
    return node


@pytest.mark.parametrize("kind", ["rm", "stays"])
def test_a_container_whose_runner_is_killed(node: Node, kind: str) -> None:
    command = [sys.executable, "-c", RUNNER, str(node.home), kind]
    with Child(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        assert shown_status(node, "lost") == "running"
        node.recover()  # which leaves the containers of the living alone
        assert shown_status(node, "lost") == "running"
        (runtime,) = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        runner.kill()
        os.kill(int(runtime), signal.SIGKILL)
        runner.wait()

    assert shown_status(node, "lost") == "orphaned"
    node.recover()

    if kind == "rm":
        assert node.containers.list() == ()
        assert not (node.home / "runtime/lost").exists()
        assert not (node.home / "bundles/lost").exists()
        assert to_remove(node.home / "bundles") == []
    else:
        assert shown_status(node, "lost") == "orphaned"
        assert stop(node, "lost", grace_seconds=0)
        assert shown_status(node, "lost") == "stopped"
