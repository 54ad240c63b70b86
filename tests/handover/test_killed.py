"""A hand-over that is killed before any of its calls: the next one completes it; and if none comes, nothing is left."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.oci.image import Image
from tests.handover.conftest import ROOT, Host
from tests.pulling import NAME

pytestmark = ROOT

PROJECT = Path(__file__).parents[2]


def handed_over(host: Host, call: int) -> subprocess.CompletedProcess[str]:
    """Hand the demo image over in a process that is killed before a call; in none if it makes fewer."""
    command = [sys.executable, "-m", "tests.handover.killed", str(host.node.home), NAME, "containerd", str(call)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def forgotten(host: Host) -> None:
    """Let the leases end, and wait for containerd's garbage collection."""
    for lease in host.containerd.ctr("leases", "ls", "-q").split():
        host.containerd.ctr("leases", "rm", "--sync", lease)


def left(host: Host) -> tuple[str, str]:
    """The blobs and the snapshots that containerd has."""
    snapshots = host.containerd.ctr("snapshots", "--snapshotter", host.kind.snapshotter, "ls").splitlines()[1:]
    return host.containerd.ctr("content", "ls", "-q"), "\n".join(snapshots)


def removed(host: Host) -> None:
    """Remove the image as kubelet does, and all that it leaves."""
    for name in host.containerd.ctr("images", "ls", "-q").split():
        host.containerd.ctr("images", "rm", "--sync", name)
    forgotten(host)
    assert left(host) == ("", "")


@pytest.mark.parametrize("samples", [3, pytest.param(20, marks=pytest.mark.long)])
def test_the_next_hand_over_completes_it_and_without_one_nothing_is_left(host: Host, demo: Image, samples: int) -> None:
    calls = int(handed_over(host, 0).stdout)
    removed(host)
    for number, call in enumerate(range(2, calls + 1, max(1, calls // samples))):
        assert handed_over(host, call).returncode == -signal.SIGKILL
        if number % 2:  # its lease ends before anything else happens
            forgotten(host)
            assert host.containerd.ctr("images", "ls", "-q") or left(host) == ("", ""), call
        host.hand_over(demo)
        assert host.in_use(NAME)[0].in_use, call
        removed(host)
