"""A store on a disk without a single free block: names and snapshots can be removed, and that makes room."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from flows.cli.main import main
from prestow.errors import ExhaustedError
from prestow.node import Node, open_node
from tests.test_verify import pulled

disk, layout, driver = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
node = open_node(str(disk / "store"))
image = pulled(node, layout, drivers=(driver,))
snapshotter = node.snapshotter(driver)
try:
    with open(disk / "filler", "ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
except OSError:
    pass
if driver == "native":  # the others write nothing for it yet
    try:
        snapshotter.prepare("box", image.chain_id)
        raise SystemExit("there was space left")
    except ExhaustedError:
        assert [info for info in snapshotter.walk() if info.key == "box"] == []

assert main(["--home", str(disk / "store"), "images", "rm", "demo"]) == 0
swept = Node(node.home, node.store_id).sweep()

assert swept.left == (), swept.left
assert len(swept.snapshots) == 3 and len(swept.blobs) == 9, swept
assert list(node.content.walk()) == [] and node.snapshots() == []
assert sorted(path.name for path in snapshotter._folders.root.iterdir()) in ([], [".lock"], [".lock", ".locks"])
assert list((node.home / "trash").iterdir()) == []
"""


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native"])
def test_a_name_and_its_snapshots_are_removed_from_a_full_disk(tmp_path: Path, demo_layout: Path, driver: str) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", PROGRAM, str(tmp_path), str(demo_layout), driver]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
