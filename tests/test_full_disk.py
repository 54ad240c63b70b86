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
from prestow.store.node import Node, open_node
from prestow.gc.prune import prune
from tests.pulling import pulled_demo

disk, layout, driver = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
node = open_node(str(disk / "store"))
image = pulled_demo(node, layout, drivers=(driver,))
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
swept = prune(Node(node.home, node.store_id))

assert swept.left == (), swept.left
assert len(swept.of("snapshot")) == 3 and len(swept.of("blob")) == 9, swept
assert list(node.content.walk()) == [] and node.snapshots() == []
assert {path.name for path in snapshotter._folders.root.iterdir()} <= {".lock", ".locks", ".looked", ".new"}
assert list((node.home / "trash").iterdir()) == []
"""


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native"])
def test_a_name_and_its_snapshots_are_removed_from_a_full_disk(tmp_path: Path, demo_layout: Path, driver: str) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", PROGRAM, str(tmp_path), str(demo_layout), driver]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


COLD = """
import json, os, subprocess, sys
from pathlib import Path
from prestow.store.node import open_node
from tests.pulling import pulled_demo

disk, layout, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if kind == "ext4":
    image = disk.with_name("disk.ext4")
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
else:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
node = open_node(str(disk / "store"))
pulled_demo(node, layout)
before = len(list(node.content.walk()))
node.database.close()
try:
    with open(disk / "filler", "ab", buffering=0) as file:
        while True:
            file.write(bytes(1024))
except OSError:
    pass

def prestow(*args):
    command = [sys.executable, "-m", "prestow", "--home", disk / "store", *args, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return json.loads(done.stdout), done.stderr

assert prestow("images", "rm", "demo")[0][0]["name"].endswith("demo:latest")
swept, said = prestow("prune")
assert "without a flow run" in said
assert swept["left"] == []
assert swept["totals"]["blob"]["count"] == before and swept["totals"]["snapshot"]["count"] == 9, swept["totals"]
assert swept["bytes"] == sum(each["bytes"] for each in swept["removed"])
assert prestow("snapshots")[0] == []
assert os.statvfs(disk).f_bfree * os.statvfs(disk).f_frsize > 50_000
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_the_command_forgets_and_prunes_on_a_full_disk_that_nobody_had_opened(
    tmp_path: Path, demo_layout: Path, kind: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", COLD, str(disk), str(demo_layout), kind]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
