"""Real images handed over to podman: it runs them, and sees what umoci unpacks."""

import subprocess
from pathlib import Path

import pytest

from prestow.handover.hand_over import hand_over
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.handover.conftest import ROOT
from tests.handover.test_podman import Host, driver, host
from tests.pulling import pulled
from tests.real_images import RealImages, real_images
from tests.trees import listing

__all__ = ["driver", "host", "real_images"]

pytestmark = ROOT


@pytest.mark.parametrize(
    ("tag", "command"),
    [
        ("tiny", ("/bin/echo", "it runs")),
        pytest.param("ml", ("python3", "-c", "import numpy, scipy; print('it runs')"), marks=pytest.mark.large),
    ],
)
def test_podman_runs_it_and_sees_what_umoci_unpacks(
    host: Host, real_images: RealImages, tmp_path: Path, tag: str, command: tuple[str, ...]
) -> None:
    real_images.make(tag)
    name = f"localhost/{tag}:1"
    image = pulled(host.node, f"oci:{real_images.layout}:{tag}", name, drivers=("erofs",))[1]
    before = _used(host.node.home)

    hand_over(host.node, name, image, "podman")

    assert _used(host.node.home) - before < 1 << 20
    for asked in (name, f"localhost/{tag}@{image.target.digest}"):
        assert host.podman.call("run", "--rm", "--entrypoint=", asked, *command) == "it runs\n"
    (mount,) = mounts_below(host.podman.store)
    assert listing(Path(mount.path)) == real_images.unpacked(tag, tmp_path / "umoci")


def _used(folder: Path) -> int:
    """The bytes that a directory takes on its disk."""
    command = ["du", "--summarize", "--one-file-system", "--block-size=1", folder]
    done = subprocess.run(command, capture_output=True, check=True)
    return int(done.stdout.split()[0])
