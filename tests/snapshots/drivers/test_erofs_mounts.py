"""What only the erofs driver has: metadata images, and their shared mounts."""

import os
from pathlib import Path

import pytest

from prestow.errors import PreconditionError, UnsupportedError
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.mounts.loop import loop_devices
from prestow.snapshots.mounts.mount import bound, mount_all, unmount
from prestow.snapshots.mounts.mountinfo import mount_points, mounted_at
from prestow.snapshots.mounts.shared import device_blocks, mount_image
from tests.conformance.bench import Bench
from tests.tar_builder import BLOCK, Tar, header

TARS = (Tar().file("a", b"a" * 2000), Tar().file("b", b"b"))


def bases(bench: Bench) -> list[Path]:
    """Return the shared mounts."""
    return [Path(point.path) for point in mount_points() if Path(point.path).parent == bench.folder / ".mounts"]


def images(bench: Bench) -> list[Path]:
    return sorted(bench.folder.glob("*.erofs"))


def sparse_tar() -> Tar:
    """Return a sparse file whose data does not start at a block of the tar."""
    fields = {"major": "1", "minor": "0", "name": "sparse", "realsize": "9000"}
    runs = b"2\n100\n300\n5000\n700\n".ljust(BLOCK, b"\0")
    tar = Tar().pax({f"GNU.sparse.{key}": value for key, value in fields.items()})
    return tar.raw(header("x", size=BLOCK + 1000) + runs + (b"x" * 300 + b"y" * 700).ljust(2 * BLOCK, b"\0"))


def test_all_users_of_an_image_share_one_mount_and_the_last_takes_it_down(place: Path) -> None:
    with Bench(place / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        assert bases(bench) == []
        bench.snapshotter.prepare("one", image.chain_id)
        bench.open().prepare("two", image.chain_id)
        bench.snapshotter.view("three", image.chain_id)
        assert len(bases(bench)) == 1

        for key in ("one", "two"):
            bench.snapshotter.remove(key)
            assert len(bases(bench)) == 1
        bench.snapshotter.remove("three")

        assert bases(bench) == []


def test_a_lower_chain_has_an_image_only_when_it_is_used(mounting: Path) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        assert len(images(bench)) == 1

        bench.snapshotter.prepare("key", image.layers[0].chain_id)

        assert len(images(bench)) == 2


def test_a_mount_of_somebody_else_keeps_the_shared_one(mounting: Path) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        (mount,) = bench.snapshotter.view("key", image.chain_id)
        target = mounting / "target"
        target.mkdir()
        bench.snapshotter.view("other", image.chain_id)
        mount_all([bound(Path(mount.source), read_only=True)], target)

        bench.snapshotter.remove("key")
        assert len(bases(bench)) == 1
        unmount(target)
        bench.snapshotter.remove("other")

        assert bases(bench) == []


def test_a_shared_mount_that_somebody_looks_into_waits_for_cleanup(mounting: Path) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        bench.snapshotter.prepare("key", image.chain_id)
        (base,) = bases(bench)
        with (base / "a").open():
            bench.snapshotter.remove("key")
            assert bases(bench) == [base]

        bench.snapshotter.cleanup()

        assert bases(bench) == []
        assert not base.exists()


def test_loop_devices_are_used_where_files_cannot_be_mounted_and_given_back(memory: Path) -> None:
    with Bench(memory / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        bench.snapshotter.prepare("key", image.chain_id)
        (base,) = bases(bench)
        backing = {path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")}
        assert {str(bench.content.path(layer.diff_id)) for layer in image.layers} <= backing

        bench.snapshotter.remove("key")

        backing = {path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")}
        assert not any(path.startswith(str(memory)) for path in backing)
        assert not base.exists()


def test_a_loop_device_reads_its_file_and_cannot_be_written(memory: Path) -> None:
    (memory / "file").write_bytes(b"x" * 1024)

    with loop_devices([memory / "file", memory / "file"]) as devices:
        assert devices[0] != devices[1]
        assert [device.read_bytes() for device in devices] == [b"x" * 1024] * 2
        assert Path("/sys/block", devices[0].name, "ro").read_text() == "1\n"


def test_data_that_cannot_stay_in_its_tar_lies_in_a_side_file(place: Path) -> None:
    tars = (*TARS, sparse_tar())
    with Bench(place / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*tars)
        (side,) = bench.folder.glob("*.side")

        assert bench.unlike(bench.snapshotter.prepare("key", image.chain_id), *tars) == []
        bench.snapshotter.remove("key")
        side.unlink()
        assert not bench.snapshotter.committed(image.chain_id)
        assert bench.unlike(bench.snapshotter.prepare("key", image.chain_id), *tars) == []

        assert bench.snapshotter.committed(image.chain_id)
        assert bench.snapshotter.usage(image.chain_id).inodes == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_image_is_made_again_byte_by_byte(mounting: Path, damage: str) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        (path,) = images(bench)
        before = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes({"empty": b"", "cut": before[:1500], "noise": os.urandom(4096)}[damage])
        assert not bench.snapshotter.committed(image.chain_id)

        bench.snapshotter.commit_layers(image)

        assert path.read_bytes() == before
        assert device_blocks(path) == [bench.content.info(layer.diff_id).size // BLOCK for layer in image.layers]


def test_a_layer_that_is_gone_or_cut_takes_the_snapshot_with_it(mounting: Path) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        blob = bench.content.path(image.layers[0].diff_id)
        whole = blob.read_bytes()
        blob.chmod(0o600)
        blob.write_bytes(whole[:BLOCK])
        assert not bench.snapshotter.committed(image.chain_id)
        blob.unlink()
        assert not bench.snapshotter.committed(image.chain_id)

        with pytest.raises(PreconditionError, match="pull the image again"):
            bench.snapshotter.prepare("key", image.chain_id)
        assert bench.left_on_disk() == {path.name for path in images(bench)}

        blob.write_bytes(whole)
        assert bench.snapshotter.committed(image.chain_id)


def test_very_many_layers_need_no_more_than_one_mount(mounting: Path) -> None:
    tars = [Tar().file(f"f{number}", str(number).encode()) for number in range(300)]
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*tars)

        files = bench.files(bench.snapshotter.prepare("key", image.chain_id))

        assert files == {f"f{number}": str(number) for number in range(300)}


def test_a_path_that_the_kernel_does_not_take_is_named(mounting: Path) -> None:
    long = mounting / ("x" * 200) / ("y" * 100)

    with pytest.raises(UnsupportedError, match="shorter path"):
        mount_image(long, [], mounting)


def test_the_shared_mount_is_made_again_if_somebody_took_it_down(mounting: Path) -> None:
    with Bench(mounting / "store", ErofsSnapshotter) as bench:
        image = bench.committed(*TARS)
        bench.snapshotter.prepare("key", image.chain_id)
        (base,) = bases(bench)
        unmount(base)
        assert mounted_at(base) == ()

        assert bench.unlike(bench.snapshotter.mounts("key"), *TARS) == []
