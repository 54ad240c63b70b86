"""The locks that keep two processes from doing the same: who waits is told for what and for whom, and not for ever."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import diff_ref, layer_ref
from prestow.errors import UnavailableError
from prestow.layers.apply import apply
from prestow.oci.image import Image
from prestow.registry.blob import fetch_blob
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.folders import Folders
from prestow.store.node import Node, open_node
from tests.processes import Child
from tests.pulling import pulled_demo

HOLD_INGEST = """
import sys
from pathlib import Path
from prestow.content.local import LocalStore
home = Path(sys.argv[1])
held = LocalStore(home / "content", home / "ingest").writer(sys.argv[2])
"""

HOLD_CHAIN = """
import sys
from pathlib import Path
from prestow.digest import Digest
from prestow.snapshots.folders import Folders
home = Path(sys.argv[1])
held = Folders(home / "snapshots" / "native", trash=home / "trash").committing(Digest(sys.argv[2]))
"""

UNTIL_TOLD = "\nprint(flush=True)\nsys.stdin.read()\n"


@dataclass(frozen=True)
class Case:
    """A lock: how another process holds it, who wants it, who wants it at once or not at all, and its name."""

    script: str
    key: str
    work: Callable[[], object]
    at_once: Callable[[], object]
    named: str


def _one_writer(node: Node, layout: Path, image: Image) -> Case:
    layer = image.layers[0]
    node.content.delete(layer.descriptor.digest)
    ref, source = layer_ref(layer.descriptor.digest), node.source(f"oci:{layout}:demo")
    return Case(
        HOLD_INGEST,
        ref,
        lambda: fetch_blob(source, node.content, layer.descriptor),
        lambda: fetch_blob(source, _impatient(node), layer.descriptor),
        f"ingest {ref}",
    )


def _one_decompressor(node: Node, _layout: Path, image: Image) -> Case:
    layer = image.layers[0]
    node.content.delete(layer.diff_id)
    return Case(
        HOLD_INGEST,
        diff_ref(layer.diff_id),
        lambda: apply(node.content, layer, scans=node.scans),
        lambda: apply(_impatient(node), layer, scans=node.scans),
        f"ingest {diff_ref(layer.diff_id)}",
    )


def _one_committer(node: Node, _layout: Path, image: Image) -> Case:
    folders = Folders(node.home / "snapshots" / "native", trash=node.home / "trash")
    return Case(
        HOLD_CHAIN,
        str(image.chain_id),
        lambda: commit_snapshots(node.snapshotter("native"), image),
        lambda: folders.committing(image.chain_id, timeout=0),
        f"unpacking {image.chain_id.short} (native)",
    )


def _impatient(node: Node) -> LocalStore:
    return LocalStore(node.home / "content", node.home / "ingest", lock_timeout=0)


@pytest.fixture(params=[_one_writer, _one_decompressor, _one_committer])
def case(request: pytest.FixtureRequest, tmp_path: Path, demo_layout: Path) -> Case:
    """An image that is here, but for what the lock is about."""
    node = open_node(str(tmp_path / "store"))
    image = pulled_demo(node, demo_layout, drivers=("erofs",))
    made: Case = request.param(node, demo_layout, image)
    return made


@contextmanager
def holding(home: Path, case: Case) -> Iterator[Child[str]]:
    """Let another process hold the lock until its input ends."""
    command = [sys.executable, "-c", case.script + UNTIL_TOLD, str(home), case.key]
    with Child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield other


def test_who_waits_says_for_what_and_for_whom_and_goes_on_when_it_is_free(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "prestow.content.lock")
    done = threading.Event()
    with holding(tmp_path / "store", case) as other:
        thread = threading.Thread(target=lambda: (case.work(), done.set()))
        thread.start()
        while not caplog.messages:
            thread.join(0.01)
        assert not done.is_set()

    thread.join()

    assert done.is_set()
    assert caplog.messages == [f"waiting for {case.named}, which is in use by process {other.pid}"]


def test_who_has_waited_long_enough_is_told_for_what_and_for_whom(case: Case, tmp_path: Path) -> None:
    with holding(tmp_path / "store", case) as other, pytest.raises(UnavailableError) as told:
        case.at_once()

    assert str(told.value) == f"{case.named} is in use by process {other.pid}; waited 0 s, try again later"
