"""Pulls, bundles, verifications and prunes at the same time, each in its process: nobody fails, nothing is left."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from prestow.errors import NotFoundError
from prestow.gc.prune import prune
from prestow.metadata.tag import untag
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import open_node
from tests.image_factory import put_image, tag
from tests.loops import REFS, name_of, pull
from tests.processes import Child
from tests.tar_builder import Tar

ROOT = Path(__file__).parents[1]
ROLES = ("pull", "pull", "pull", "bundle", "bundle", "fsck", "prune", "prune")
WORKING = 5  # of these; the others go on until they have ended
PERMANENT = {".lock", ".locks", ".looked", ".mounts", ".new"}
TABLES = ("images", "generations", "containers", "snapshots", "leases", "lease_resources", "announcements")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Three images on the same base."""
    base = Tar().file("base", b"base" * 1000).to_bytes()
    for ref in REFS:
        tops = [Tar().file(f"{ref}{n}", ref.encode() * 1000).to_bytes() for n in ("", "2")]
        tag(tmp_path / "layout", put_image(tmp_path / "layout", [base, *tops]), ref)
    return tmp_path / "layout"


@pytest.mark.parametrize(
    "rounds", [pytest.param("6", marks=pytest.mark.long), pytest.param("60s", marks=pytest.mark.large)]
)
def test_nobody_fails_and_nothing_is_left(tmp_path: Path, layout: Path, rounds: str) -> None:
    home, stop = tmp_path / "store", tmp_path / "stop"

    def start(seed: int, role: str) -> Child[str]:
        command = ["tests.loops", role, home, layout, str(seed), rounds if seed < WORKING else stop]
        return Child([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    with ExitStack() as stack:
        processes = [stack.enter_context(start(seed, role)) for seed, role in enumerate(ROLES)]
        errors = [process.communicate()[1] for process in processes[:WORKING]]
        stop.touch()
        errors += [process.communicate()[1] for process in processes[WORKING:]]

    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(errors)
    node = open_node(home)
    assert node.containers.list() == ()
    for ref in REFS:
        pull(node, layout, ref)  # what broken off pulls of the name left ends with one that does not
    assert node.leases.list() == ()
    for ref in REFS:
        untag(node.database, node.content, name_of(ref))
    assert prune(node).left == ()
    with pytest.raises(NotFoundError):
        node.image(REFS[0])
    assert list(node.content.walk()) == []
    assert {table: node.database.read(f"SELECT * FROM {table}") for table in TABLES} == {table: [] for table in TABLES}
    assert mounts_below(tmp_path) == ()
    assert [path.name for path in (home / "ingest").iterdir()] == [".locks"]
    assert list((home / "trash").iterdir()) == []
    for driver in (home / "snapshots").iterdir():
        assert not driver.is_dir() or {path.name for path in driver.iterdir()} <= PERMANENT
