"""Many processes pull images that share layers, at the same moment: each byte is fetched and decompressed once."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from prestow.fsck.image import fsck_image
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import open_node
from tests.image_factory import put_image, tag
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

ROOT = Path(__file__).parents[1]
IMAGES = ("alpha", "beta", "gamma", "delta")
LAYER = 200_000


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Images on a shared base, each two next to each other on a shared second layer."""
    tars = {name: Tar().file(name, name.encode() * LAYER).to_bytes() for name in (*IMAGES, "base", "left", "right")}
    for n, name in enumerate(IMAGES):
        stack = ("base", "left" if n < len(IMAGES) // 2 else "right", name)
        tag(tmp_path / "layout", put_image(tmp_path / "layout", [tars[part] for part in stack]), name)
    return tmp_path / "layout"


@pytest.mark.parametrize("processes", [8, pytest.param(32, marks=pytest.mark.large)])
def test_each_blob_is_fetched_and_decompressed_once(tmp_path: Path, layout: Path, processes: int) -> None:
    home = tmp_path / "store"
    assert open_node(str(home)).images.list() == ()
    with FaultRegistry(layout) as registry:
        references = [f"{registry.domain}/team/{name}:{name}" for name in IMAGES]
        command = [sys.executable, "-m", "tests.swarm", str(home), str(processes), *references]
        swarm = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        fetched = Counter(seen.path.rpartition("/")[2] for seen in registry.requests("sha256:", "GET"))

    said = "".join(line for line in swarm.stderr.splitlines(keepends=True) if not line.startswith("waiting for "))
    if swarm.returncode or said:
        pytest.fail(f"{swarm.returncode} of {processes} processes failed:\n{said}", pytrace=False)
    begun = Counter(ref for line in swarm.stdout.splitlines() for ref in json.loads(line))
    node = open_node(str(home))
    images = [node.image(reference) for reference in references]
    assert set(fetched.values()) == {1}, fetched
    assert len(fetched) == 3 * len(IMAGES) + 3, "manifest, config and a layer of each, and three that they share"
    assert set(begun.values()) == {1}, begun
    assert len(begun) == len(IMAGES) + 3
    assert len(swarm.stdout.splitlines()) == processes
    assert [fsck_image(node, image).damaged for image in images] == [()] * len(IMAGES)
    assert node.leases.list() == ()
    assert [path.name for path in (home / "ingest").iterdir()] == [".locks"]
    assert mounts_below(tmp_path) == ()
