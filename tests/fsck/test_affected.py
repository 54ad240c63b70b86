"""Affected: containers that stand on what is damaged, or was, are told so; what they have mounted is theirs."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prestow.fsck.affected import Affected
from prestow.fsck.run import fsck
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.images import ImageRecord
from prestow.oci.image import Image
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import Node, open_node
from tests.image_factory import MOTD, put_image, tag
from tests.pulling import pulled
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

Place = Callable[[Node, Image, str], Path]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with closing(open_node(str(tmp_path / "store"))) as node:
        yield node
    for mount in reversed(mounts_below(tmp_path)):
        unmount(Path(mount.path))


@pytest.fixture
def pull(node: Node, fault_registry: FaultRegistry) -> tuple[ImageRecord, Image]:
    """An image; and another one, with a container in every driver, that nothing happens to."""
    reference = f"{fault_registry.domain}/app"
    tag(fault_registry.layout, put_image(fault_registry.layout, [Tar().file("etc/motd", b"other").to_bytes()]), "other")
    _, other = pulled(node, f"{reference}:other")
    for driver in ("erofs", "overlay", "native"):
        container(node, driver, f"other-{driver}", other)
    return pulled(node, f"{reference}:demo")


def container(node: Node, driver: str, container_id: str, image: Image) -> Path:
    """Make a container, mount its root, and give that."""
    created = create_snapshot(node.snapshotter(driver), container_id, image.chain_id)
    bundle = node.bundle_folder(container_id)
    rootfs = bundle / "rootfs"
    rootfs.mkdir(parents=True)
    (bundle / "config.json").write_text(json.dumps({}))
    mount_all(created.mounts, rootfs)
    digest = image.manifest.digest
    node.containers.put(ContainerRecord("default", container_id, "x", digest, driver, container_id, str(bundle), 0.0))
    return rootfs


def _in_the_tar(node: Node, image: Image, _: str) -> Path:
    return node.content.path(image.layers[1].diff_id)


def _in_the_folder(node: Node, image: Image, driver: str) -> Path:
    at = {"overlay": image.layers[1].chain_id, "native": image.chain_id}[driver]
    return node.home / "snapshots" / driver / str(node.snapshotter(driver).stat(at).id) / "fs/etc/motd"


PLACES: dict[str, tuple[Place, str, str]] = {
    "erofs": (_in_the_tar, "uses damaged data", "keeps using the damaged data until it is restarted"),
    "overlay": (_in_the_folder, "uses damaged data", "keeps using the damaged data until it is restarted"),
    "native": (_in_the_folder, "may be a copy of damaged data", "may be a copy of data that was damaged"),
}


@pytest.mark.parametrize("driver", PLACES)
def test_a_container_is_told_and_sound_when_it_was_started_again(
    node: Node, pull: tuple[ImageRecord, Image], driver: str
) -> None:
    record, image = pull
    place, before, after = PLACES[driver]
    rootfs = container(node, driver, "c1", image)
    path = place(node, image, driver)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(MOTD, b"?" * len(MOTD)))

    found = fsck(node, record.name).images[0].containers
    mended = fsck(node, record.name, repair=True)

    assert mended.damaged == 0
    assert [(told.id, told.what.partition(":")[0]) for told in found] == [("c1", before)]
    assert [(told.id, told.what.partition(":")[0]) for told in mended.images[0].containers] == [("c1", after)]
    assert (rootfs / "bin/hello").stat().st_size > 0  # nothing was pulled from under it
    if driver != "native":
        assert f"`umount {rootfs}`" in mended.images[0].containers[0].what
        unmount(rootfs)
        mount_all(node.snapshotter(driver).mounts("c1"), rootfs)
    assert (rootfs / "etc/motd").read_bytes() == MOTD


def test_a_container_that_is_not_mounted_will_be_sound_and_is_not_told(
    node: Node, pull: tuple[ImageRecord, Image]
) -> None:
    record, image = pull
    unmount(container(node, "erofs", "c1", image))
    path = node.home / "snapshots/erofs" / f"{image.chain_id.encoded}.erofs"
    path.write_bytes(bytes(path.stat().st_size))

    mended = fsck(node, record.name, repair=True)

    assert mended.damaged == 0
    assert mended.images[0].mended
    assert mended.images[0].containers == ()


def test_containers_are_told_with_their_namespaces(node: Node, pull: tuple[ImageRecord, Image]) -> None:
    record, image = pull
    rootfs = container(node, "overlay", "c1", image)
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE containers SET namespace = 'ci' WHERE id = 'c1'")
    _in_the_folder(node, image, "overlay").unlink()

    (told,) = fsck(node, record.name, repair=True).images[0].containers

    what = f"keeps using the damaged data until it is restarted: stop it, `umount {rootfs}`, start it"
    assert told == Affected("ci", "c1", what)
