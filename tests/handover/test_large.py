"""A real image of 35,000 files, handed over: pods run on it, though no registry is there, and see the right files."""

import subprocess
from pathlib import Path

import pytest

from prestow.oci.image import Image
from tests.containerd import Containerd
from tests.cri import Cri
from tests.handover.conftest import ROOT, Host
from tests.pulling import pulled
from tests.real_images import RealImages
from tests.trees import Listed, differences, listing, timeless

pytestmark = [ROOT, pytest.mark.large, pytest.mark.timeout(1800)]

NAME = "registry.example/team/ml:1"
"""There is no such host: whatever containerd would fetch fails."""


@pytest.fixture
def image(host: Host, real_images: RealImages) -> Image:
    """The image, handed over."""
    real_images.make("ml")
    found = pulled(host.node, f"oci:{real_images.layout}:ml", NAME, drivers=("erofs",))[1]
    assert host.hand_over(found, NAME).form == host.kind.form
    return found


def blobs(containerd: Containerd) -> set[str]:
    """What containerd's content store has; diff blobs that it applied go some time after the lease's end."""
    return {*containerd.ctr("content", "ls", "-q").split()}


def unpacked(containerd: Containerd, real_images: RealImages, scratch: Path) -> dict[bytes, Listed]:
    """What containerd itself makes of the image, in a namespace where it knows nothing of ours."""
    archive, shown = scratch / "ml.tar", scratch / "own"
    shown.mkdir()
    subprocess.run(["skopeo", "copy", "-q", f"oci:{real_images.layout}:ml", f"oci-archive:{archive}:ml"], check=True)
    words = ("images", "import", "--no-unpack", "--index-name", NAME)
    containerd.ctr(*words, str(archive), namespace="own")
    containerd.ctr("images", "mount", "--snapshotter", "overlayfs", NAME, str(shown), namespace="own")
    try:
        return listing(shown)
    finally:
        containerd.ctr("images", "unmount", str(shown), namespace="own")


def test_pods_start_on_it_without_a_registry_and_see_what_containerd_itself_unpacks(
    host: Host, image: Image, kubelet: Cri, real_images: RealImages, tmp_path: Path
) -> None:
    before = blobs(host.containerd)

    command = ("python3", "-c", "import numpy, pandas, scipy; print(numpy.arange(5).sum())")
    assert kubelet.output(NAME, tmp_path / "by-tag", *command) == (0, "10\n")
    by_digest = f"{NAME.rpartition(':')[0]}@{image.target.digest}"
    assert kubelet.output(by_digest, tmp_path / "by-digest", "cat", "/etc/debian_version")[0] == 0
    assert blobs(host.containerd) <= before, "something was fetched"

    with host.running(NAME, "sleep", "1000") as shown:
        seen = timeless(listing(shown))
    own = timeless(unpacked(host.containerd, real_images, tmp_path))
    assert differences(seen, own) == []
