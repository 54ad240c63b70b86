"""Where links are not possible, containerd unpacks the layers itself, and it is said why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.handover.hand_over import hand_over
from prestow.oci.image import Image
from tests.file_systems import mounted
from tests.handover.conftest import ROOT, Host, Kind, host_of
from tests.image_factory import MOTD, write_image
from tests.programs import hello
from tests.pulling import NAME, pulled
from tests.tar_builder import Tar

pytestmark = ROOT


def large(host: Host, drivers: tuple[str, ...] = ("erofs",)) -> Image:
    """An image of two layers, the second of which takes something away; they are too large to be sent."""
    layout = host.folder / "oci"
    lower = Tar().file("bin/hello", hello("amd64"), mode=0o755).file("etc/motd", b"lower").file("gone", b"x" * 70_000)
    upper = Tar().file("etc/motd", MOTD).whiteout("gone").file("new", b"x" * 90_000)
    config = {"Entrypoint": ["/bin/hello"]}
    write_image(layout, [lower.to_bytes(), upper.to_bytes()], config=config, compression="none")
    return pulled(host.node, f"oci:{layout}:test", NAME, drivers=drivers)[1]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    with mounted("tmpfs", tmp_path) as folder:
        yield folder


def test_a_store_on_another_file_system_has_its_blobs_sent(
    kind: Kind, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with host_of(kind, tmp_path, monkeypatch, store=elsewhere / "store") as host:
        given = hand_over(host.node, NAME, large(host))

        assert (given.form, given.shared_bytes) == ("applied", 0)
        assert kind.form != "linked" or "different file systems" in given.why
        assert host.runs(NAME)
        assert host.in_use(NAME)[0].in_use


def test_what_is_not_unpacked_here_is_unpacked_there(host: Host, tmp_path: Path) -> None:
    image = large(host)
    for driver in host.node.snapshotters:
        for layer in reversed(image.layers) if driver.driver == "erofs" else ():
            driver.remove(layer.chain_id)
    for layer in image.layers:
        assert layer.diff_id == layer.descriptor.digest, "a plain layer is its own diff blob"

    given = hand_over(host.node, NAME, image)

    assert given.form == "applied"
    assert host.kind.form != "linked" or given.why == "it is not unpacked in the store"
    assert host.runs(NAME)


def test_a_snapshotter_that_makes_files_immutable_gets_no_links(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind.form != "linked":
        pytest.skip("only containerd's erofs snapshotter does that")
    more = '[plugins."io.containerd.snapshotter.v1.erofs"]\n  set_immutable = true\n'
    with host_of(kind, tmp_path, monkeypatch, more=more) as host:
        image = large(host)
        given = hand_over(host.node, NAME, image)

        assert (given.form, "set_immutable" in given.why) == ("applied", True)
        assert host.runs(NAME)
        host.containerd.forget_images()
        for layer in image.layers:
            host.node.content.delete(layer.diff_id)  # which an immutable file would not allow
