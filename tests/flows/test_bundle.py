"""The flow ``bundle``: what a container sees is what ``umoci unpack`` makes of the same image, entry by entry."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.pull import pull
from prestow.containers.create import remove_container
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, InvalidError, NotFoundError
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.runtime.bundle import FILLING
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import open_node
from tests.cases import long_but
from tests.real_images import VARIANTS, RealImages
from tests.registries import DockerRegistry
from tests.trees import differences, listing

pytestmark = pytest.mark.usefixtures("prefect_server")

DRIVERS = ("erofs", "overlay", "native")


@pytest.mark.parametrize("variant", long_but("oci", VARIANTS))
def test_a_copied_root_is_what_umoci_unpacks(
    home: str, tmp_path: Path, docker_registry: DockerRegistry, real_images: RealImages, variant: str
) -> None:
    reference = real_images.push(docker_registry, "tiny", variant)
    pull(reference, home=home)

    made = bundle(reference, str(tmp_path / "bundle"), copied=True, home=home)

    assert made.driver == "copy"
    assert differences(listing(tmp_path / "bundle/rootfs"), real_images.unpacked("tiny", tmp_path / "umoci")) == []


@pytest.mark.parametrize("driver", long_but("erofs", DRIVERS))
def test_a_mounted_root_is_what_umoci_unpacks(
    home: str, tmp_path: Path, docker_registry: DockerRegistry, real_images: RealImages, driver: str
) -> None:
    reference = real_images.push(docker_registry, "tiny", "oci")
    pull(reference, driver=driver, home=home)

    made = bundle(reference, str(tmp_path / "bundle"), id="seen", driver=driver, home=home)

    assert made.driver == driver
    assert differences(listing(tmp_path / "bundle/rootfs"), real_images.unpacked("tiny", tmp_path / "umoci")) == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_a_container_writes_stays_its_own(home: str, tmp_path: Path, demo_layout: Path, driver: str) -> None:
    pull(f"oci:{demo_layout}:demo", driver=driver, home=home)
    for name in ("one", "two"):
        bundle("demo", str(tmp_path / name), id=name, driver=driver, home=home)

    (tmp_path / "one/rootfs/etc/motd").write_text("changed")

    assert (tmp_path / "two/rootfs/etc/motd").read_text() != "changed"


def test_containers_of_one_image_share_one_mount_of_it(home: str, tmp_path: Path, demo_layout: Path) -> None:
    pull(f"oci:{demo_layout}:demo", driver="erofs", home=home)
    for name in ("one", "two"):
        bundle("demo", str(tmp_path / name), id=name, driver="erofs", home=home)
    assert len(mounts_below(Path(home))) == 1

    for name in ("one", "two"):
        remove_container(open_node(home), name)

    assert mounts_below(Path(home)) == ()
    assert not (tmp_path / "one").exists()


def test_the_same_bundle_again_is_success_and_another_one_is_refused(home: str, tmp_path: Path, demo: str) -> None:
    place = str(tmp_path / "bundle")
    first = bundle(demo, place, id="c", home=home)

    assert bundle(demo, place, id="c", home=home).directory == first.directory
    with pytest.raises(AlreadyExistsError):
        bundle(demo, place, id="c", args=("other",), home=home)
    assert [record.id for record in open_node(home).containers.list()] == ["c"]


def test_a_folder_with_other_things_is_left_alone(home: str, tmp_path: Path, demo: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").write_text("dear")

    with pytest.raises(AlreadyExistsError, match="letter"):
        bundle(demo, str(tmp_path / "mine"), home=home)

    assert (tmp_path / "mine/letter").read_text() == "dear"
    assert open_node(home).containers.list() == ()
    assert [info for info in open_node(home).snapshots() if info.kind.value == "active"] == []


def test_a_bundle_does_not_pull_unless_told_to(home: str, tmp_path: Path, demo_layout: Path) -> None:
    reference = f"oci:{demo_layout}:demo"

    with pytest.raises(NotFoundError):
        bundle(reference, str(tmp_path / "bundle"), copied=True, home=home)
    bundle(reference, str(tmp_path / "bundle"), copied=True, pull="missing", home=home)

    assert json.loads((tmp_path / "bundle/config.json").read_text())["process"]["args"] == ["/bin/hello"]


def test_a_bundle_ends_the_lease_of_a_killed_pull_of_this_image_and_not_that_of_an_update(
    home: str, tmp_path: Path, demo: str
) -> None:
    node = open_node(home)
    record = node.image(demo)
    for extra in ((), (Digest.of(b"an update"),)):
        with suppress(KeyboardInterrupt), node.unfinished(f"pull {record.name}") as lease:
            node.protect(lease, find_image(node.content, record.target, host()))
            node.leases.add(lease, "content", extra)
            raise KeyboardInterrupt

    bundle(demo, str(tmp_path / "bundle"), copied=True, pull="missing", home=home)

    (left,) = node.leases.list()
    assert Digest.of(b"an update") in node.leases.resources(left.id)["content"]


def test_layers_that_are_stored_but_not_unpacked_are_unpacked_and_not_fetched(
    home: str, tmp_path: Path, demo_layout: Path
) -> None:
    pulled = pull(f"oci:{demo_layout}:demo", home=home)
    node = open_node(home)
    for info in reversed(node.snapshots()):
        node.snapshotter(info.driver).remove(info.key)
    for layer in pulled.layers:
        node.content.delete(Digest(layer.diff_id))

    bundle("demo", str(tmp_path / "bundle"), copied=True, pull="never", home=home)

    assert (tmp_path / "bundle/rootfs/etc/motd").exists()


@pytest.mark.parametrize("container_id", ["", "../x", "-x", "a/b", "x" * 200])
def test_a_container_id_that_is_none_is_refused(home: str, tmp_path: Path, demo: str, container_id: str) -> None:

    with pytest.raises(InvalidError):
        bundle(demo, str(tmp_path / "bundle"), id=container_id, home=home)


@pytest.mark.parametrize("options", [{"copied": True}, {}], ids=["copied", "mounted"])
def test_a_root_that_holds_other_things_is_left_alone(
    home: str, tmp_path: Path, demo: str, options: dict[str, bool]
) -> None:
    letter = tmp_path / "mine/rootfs/letter"
    letter.parent.mkdir(parents=True)
    letter.write_text("dear")

    with pytest.raises(AlreadyExistsError, match="rootfs"):
        bundle(demo, str(tmp_path / "mine"), home=home, **options)

    assert letter.read_text() == "dear"
    assert mounts_below(tmp_path / "mine") == ()
    assert open_node(home).containers.list() == ()


def test_a_copy_that_was_cut_off_is_made_anew(home: str, tmp_path: Path, demo: str) -> None:
    place = tmp_path / "bundle"
    bundle(demo, str(place), copied=True, home=home)
    expected = listing(place / "rootfs")
    (place / "config.json").unlink()
    (place / "rootfs/etc/motd").unlink()
    (place / FILLING).touch()  # as a killed copy leaves it

    bundle(demo, str(place), copied=True, home=home)

    assert listing(place / "rootfs") == expected
    assert not (place / FILLING).exists()
