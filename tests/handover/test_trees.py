"""The files that a container sees are those of containerd's own unpacking; and images of odd shapes are handed over."""

from pathlib import Path

import pytest

from tests.cri import BUSYBOX
from tests.handover.conftest import ROOT, Host
from tests.image_factory import MOTD, demo_layers, put_image, put_index, tag, write_image
from tests.programs import hello
from tests.pulling import NAME, pulled
from tests.tar_builder import Tar
from tests.trees import listing, timeless

pytestmark = ROOT

ROOMY = "localhost/roomy:1"


def layers() -> list[bytes]:
    """Layers with everything that unpacking can get wrong."""
    lowest = Tar().file("bin/busybox", BUSYBOX.read_bytes(), mode=0o4755)
    lowest.directory("var/old").file("var/old/1", b"one").directory("var/kept").file("var/kept/1", b"one")
    lowest.file("etc/gone", b"gone").symlink("etc/link", "../var/kept").hardlink("bin/same", "bin/busybox", mode=0o4755)
    middle = Tar().whiteout("etc/gone").directory("var/old").opaque("var/old")
    middle.file("var/old/2", b"two", uid=1000, gid=100)
    top = (
        Tar()
        .file("var/kept/2", b"x" * 70_000)
        .hardlink("etc/second", "var/kept/2")
        .char("null", 1, 3)
        .file("etc/motd", MOTD)
    )
    return [lowest.to_bytes(), middle.to_bytes(), top.to_bytes()]


def test_a_container_sees_what_containerd_itself_would_unpack(host: Host, tmp_path: Path) -> None:
    write_image(tmp_path / "oci", layers(), config={"Entrypoint": ["/bin/busybox", "sleep", "1000"]})
    host.hand_over(pulled(host.node, f"oci:{tmp_path / 'oci'}:test", ROOMY)[1], ROOMY)
    (tmp_path / "own").mkdir()

    with host.running(ROOMY) as shown:
        host.containerd.ctr("images", "mount", "--snapshotter", "overlayfs", ROOMY, str(tmp_path / "own"))
        try:
            own, seen = timeless(listing(tmp_path / "own")), timeless(listing(shown))
        finally:
            host.containerd.ctr("images", "unmount", str(tmp_path / "own"))
    made = (b"dev", b"proc", b"sys", b"run")  # runc's, to mount on
    assert {name for name in seen if not name.startswith(made)} == own.keys()
    assert {name: seen[name] for name in own if name} == {name: own[name] for name in own if name}


@pytest.mark.parametrize("count", [1, pytest.param(100, marks=pytest.mark.long)])
def test_images_of_one_and_of_a_hundred_layers_run(host: Host, tmp_path: Path, count: int) -> None:
    lowest = Tar().file("bin/hello", hello("amd64"), mode=0o755).file("etc/motd", MOTD).to_bytes()
    more = [Tar().file(f"file-{number}", bytes([number])).to_bytes() for number in range(1, count)]
    write_image(tmp_path / "oci", [lowest, *more], config={"Entrypoint": ["/bin/hello"]})
    image = pulled(host.node, f"oci:{tmp_path / 'oci'}:test", ROOMY)[1]

    host.hand_over(image, ROOMY)

    assert host.runs(ROOMY)


def test_of_an_index_in_an_index_the_platform_is_found(host: Host, tmp_path: Path) -> None:
    layout = tmp_path / "oci"
    inner = put_index(layout, [put_image(layout, demo_layers("amd64"), config={"Entrypoint": ["/bin/hello"]})])
    tag(layout, put_index(layout, [inner]), "nested")
    image = pulled(host.node, f"oci:{layout}:nested", NAME)[1]

    host.hand_over(image)

    assert host.runs(NAME)
