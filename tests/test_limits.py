"""Limits of the process, and a store that may not be written to: one of our errors, and the same again succeeds."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.fsck.image import fsck_image
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import open_node
from tests.image_factory import write_image
from tests.loops import pull_from
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

ROOT = Path(__file__).parents[1]
LAYER = 600_000
SIZES = ("1", "2000", "5000", "70000", "400000", "601000", "2000000")
DESCRIPTORS = ("+1", "+3", "+5", "+6", "+7", "+8", "+9", "+10", "+14")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FaultRegistry]:
    """A registry with an image of layers that do not compress."""
    tars = [Tar().file(f"file{n}", random.Random(n).randbytes(LAYER)).to_bytes() for n in range(2)]
    write_image(tmp_path / "layout", tars, ref="image")
    with FaultRegistry(tmp_path / "layout") as opened:
        yield opened


def limited(folder: Path, reference: str, limit: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pull under each of the limits, and give how that ended."""
    # -B, for Python itself would cut off the byte code that it writes, and keep it
    command = [sys.executable, "-B", "-m", "tests.limited", str(folder), reference, limit, *values]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def succeeds(store: Path, reference: str) -> None:
    """Pull without a limit, and find everything in order, and nothing else."""
    node = open_node(store)
    pull_from(node, reference, reference)
    assert fsck_image(node, node.image(reference)).damaged == ()
    assert [path.name for path in (store / "ingest").iterdir()] == [".locks"]
    assert list((store / "trash").iterdir()) == []
    assert node.leases.list() == ()
    assert mounts_below(store) == ()


@pytest.mark.long
def test_a_file_that_may_not_be_so_large_is_told_and_again_succeeds(tmp_path: Path, registry: FaultRegistry) -> None:
    reference = f"{registry.domain}/team/image:image"

    ended = limited(tmp_path, reference, "RLIMIT_FSIZE", SIZES)

    assert {kind for kind, _ in ended[:-1]} == {"ExhaustedError", "StorageError"}
    assert any("ulimit -f" in said for _, said in ended)
    for size in SIZES:
        succeeds(tmp_path / size, reference)


@pytest.mark.long
def test_too_few_descriptors_are_told_and_again_succeeds(tmp_path: Path, registry: FaultRegistry) -> None:
    reference = f"{registry.domain}/team/image:image"

    ended = limited(tmp_path, reference, "RLIMIT_NOFILE", DESCRIPTORS)

    assert {"UnavailableError", ""} <= {kind for kind, _ in ended} <= {"UnavailableError", "StorageError", ""}, ended
    assert ended[-1] == ("", "")
    assert any("ulimit -n" in said for _, said in ended)
    for number in DESCRIPTORS:
        succeeds(tmp_path / number, reference)


READ_ONLY = """
import subprocess, sys
store, layout = sys.argv[1:]
subprocess.run(["mount", "--bind", store, store], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", store], check=True)
lines = ["images", "images inspect image", "snapshots", "containers", "explain image"]
for line in (*lines, f"pull oci:{layout}:image", "images rm image"):
    command = [sys.executable, "-m", "prestow", "--home", store, "--cold", *line.split()]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    print(done.returncode, "read-only" in (done.stderr.splitlines() or [""])[-1])
"""


@pytest.mark.long
def test_a_store_on_a_read_only_mount_is_read_and_the_command_says_why_it_is_not_written(
    tmp_path: Path, registry: FaultRegistry
) -> None:
    store = tmp_path / "store"
    node = open_node(store)
    pull_from(node, f"oci:{registry.layout}:image", "localhost/image:latest")
    node.database.close()  # or its log would be there, by which SQLite can do without writing
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", READ_ONLY]

    done = subprocess.run([*command, store, registry.layout], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert [line.split() for line in done.stdout.splitlines()] == [["0", "False"]] * 5 + [["11", "True"]] * 2
