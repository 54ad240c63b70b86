"""A hand-over that is killed at any point: the next one completes it; and if none comes, nothing is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.oci.image import Image
from tests.handover.conftest import ROOT, Host
from tests.image_factory import DEMO_CONFIG, write_image
from tests.programs import hello
from tests.pulling import NAME, pulled
from tests.tar_builder import Tar

pytestmark = ROOT

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def image(host: Host, tmp_path: Path) -> Image:
    """An image of two layers, one of which is small enough to be sent, and one is linked."""
    lower = Tar().file("bin/hello", hello("amd64"), mode=0o755).to_bytes()
    upper = Tar().file("noise", os.urandom(70_000)).to_bytes()
    write_image(tmp_path / "oci", [lower, upper], config=DEMO_CONFIG)
    return pulled(host.node, f"oci:{tmp_path / 'oci'}:test", NAME, drivers=("erofs",))[1]


def handed_over(host: Host, point: int) -> subprocess.CompletedProcess[str]:
    """Hand the image over in a process that is killed at a point; in none if it meets fewer."""
    command = [sys.executable, "-m", "tests.handover.killed", str(host.node.home), NAME, "containerd", str(point)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def killed(host: Host, point: int) -> None:
    """Hand the image over, and be killed at a point."""
    done = handed_over(host, point)
    assert done.returncode in {-signal.SIGKILL, 0}, done.stderr  # how often CRI is asked at the end varies


def forgotten(host: Host) -> None:
    """Let the leases end, and wait for containerd's garbage collection."""
    for lease in host.containerd.ctr("leases", "ls", "-q").split():
        host.containerd.ctr("leases", "rm", "--sync", lease)


def left(host: Host) -> set[str]:
    """The blobs, snapshots and unfinished writes that containerd has, in its books or on its disk."""
    root = host.containerd.folder / "root"
    snapshots = host.containerd.ctr("snapshots", "--snapshotter", host.kind.snapshotter, "ls").splitlines()[1:]
    found = {*host.containerd.ctr("content", "ls", "-q").split(), *snapshots}
    places = ("io.containerd.content.v1.content/blobs/sha256", "io.containerd.content.v1.content/ingest")
    for place in (*places, f"io.containerd.snapshotter.v1.{host.kind.snapshotter}/snapshots"):
        found |= {str(each) for each in (root / place).glob("*")}
    return found


def names(host: Host) -> list[str]:
    """The names of containerd's images."""
    return host.containerd.ctr("images", "ls", "-q").split()


def removed(host: Host) -> None:
    """Remove the image as kubelet does, and all that it leaves."""
    for name in names(host):
        host.containerd.ctr("images", "rm", "--sync", name)
    forgotten(host)
    assert left(host) == set()


SAMPLES = (
    2,
    pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    pytest.param(1000, marks=[pytest.mark.large, pytest.mark.timeout(1800)]),
)


@pytest.mark.parametrize("samples", SAMPLES)
def test_the_next_hand_over_completes_it_and_without_one_nothing_is_left(
    host: Host, image: Image, samples: int
) -> None:
    points = int(handed_over(host, 0).stdout)
    removed(host)
    for point in range(1, points + 1, max(1, points // samples)):
        killed(host, point)
        forgotten(host)
        assert names(host) or left(host) == set(), point

        killed(host, point)
        host.hand_over(image)
        assert host.in_use(NAME)[0].in_use, point
        removed(host)
