"""Files that the store and containerd share: what a repair, a prune and a full removal mean for them."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.fsck.run import fsck
from prestow.gc.explain import explain
from prestow.gc.prune import prune
from prestow.handover.containerd import content
from prestow.oci.image import Image
from tests.conformance.snapshotter_damage import flip
from tests.handover.conftest import ROOT, Host
from tests.image_factory import MOTD, write_image
from tests.programs import hello
from tests.pulling import pulled
from tests.tar_builder import Tar

pytestmark = ROOT

NAME = "localhost/large:1"


@pytest.fixture
def image(host: Host, tmp_path: Path) -> Image:
    """An image whose layer is too large to be sent, handed over."""
    tar = Tar().file("noise", os.urandom(300_000)).file("etc/motd", MOTD).file("bin/hello", hello("amd64"), mode=0o755)
    write_image(tmp_path / "oci", [tar.to_bytes()], config={"Entrypoint": ["/bin/hello"]})
    found = pulled(host.node, f"oci:{tmp_path / 'oci'}:test", NAME)[1]
    host.hand_over(found, NAME)
    return found


def theirs(host: Host, digest: Digest) -> list[Path]:
    """The files of containerd that are links to a blob of ours."""
    inode = host.node.content.path(digest).stat().st_ino
    return [each for each in (host.containerd.folder / "root").rglob("*") if each.lstat().st_ino == inode]


def shared(host: Host, image: Image) -> Digest:
    """The blob that both have in this form."""
    (layer,) = image.layers
    return layer.diff_id if host.kind.form == "linked" else layer.descriptor.digest


def test_a_repair_gives_containerd_the_new_file(host: Host, image: Image) -> None:
    digest = shared(host, image)
    (link,) = theirs(host, digest)
    flip(host.node.content.path(digest))
    assert hashlib.sha256(link.read_bytes()).hexdigest() != digest.encoded

    (result,) = fsck(host.node, NAME, repair=True).images

    assert result.left == ()
    assert hashlib.sha256(link.read_bytes()).hexdigest() == digest.encoded
    assert theirs(host, digest) == [link]
    assert host.runs(NAME)


def test_what_is_shared_frees_nothing(host: Host, image: Image) -> None:
    digest = shared(host, image)
    (explained,) = [each for each in explain(host.node, digest) if each.kind != "snapshot"]  # a chain ID, too
    assert (explained.shared, explained.bytes) == (True, host.node.content.info(digest).size)
    host.node.images.remove(NAME)

    swept = prune(host.node)

    (gone,) = [each for each in swept.removed if (each.kind, each.name) == ("blob", digest)]
    assert (gone.bytes, "frees nothing" in gone.why) == (0, True)
    assert host.runs(NAME)


def test_containers_start_although_the_store_is_gone(host: Host, image: Image) -> None:
    host.node.close()
    for driver in host.node.snapshotters:
        driver.cleanup()
    shutil.move(host.node.home, host.folder / "away")

    assert host.runs(NAME)


def test_a_link_that_a_garbage_collection_took_is_sent(
    host: Host, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layer,) = image.layers
    host.containerd.forget_images()
    link = content._link

    def vanished(source: Path, target: Path, size: int) -> bool:
        done = link(source, target, size)
        target.unlink()
        return done

    monkeypatch.setattr(content, "_link", vanished)
    host.hand_over(image, NAME)

    assert host.in_use(NAME)[0].in_use
    assert (host.containerd.blobs / layer.descriptor.digest.encoded).exists()
    assert theirs(host, layer.descriptor.digest) == []
    assert host.runs(NAME)
