"""Rows that are no layer: what file systems of the host do, what somebody does meanwhile, what images promise."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, StorageError, UnsupportedError
from prestow.layers.apply import apply
from prestow.layers.scans import Scans
from prestow.oci.manifest import MAX_LAYERS
from prestow.platforms import Platform
from prestow.reference import LayoutReference
from prestow.registry.fetch import fetch_manifest
from prestow.registry.layout_source import LayoutSource
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from tests.conformance.bench import Bench
from tests.disks import ext4, mounted
from tests.hostile.arena import Arena
from tests.hostile.case import zipped
from tests.image_factory import put_blob, put_document, tag
from tests.tar_builder import Tar
from tests.trees import listing

Kind = Callable[..., Driver]
DRIVERS: tuple[type[Driver], ...] = (ErofsSnapshotter, OverlaySnapshotter, NativeSnapshotter)
FOLDERS = DRIVERS[1:]
"""The drivers that write files."""


def _name(kind: type[Driver]) -> str:
    return kind.driver


@pytest.mark.parametrize("kind", DRIVERS, ids=_name)
def test_a_store_on_another_file_system_than_the_target_of_a_link_copies_nothing(
    kind: Kind, victim: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "memory", "-t", "tmpfs", "none") as memory, Bench(memory / "store", kind) as bench:
        arena = Arena(bench)
        for link in (f"{victim}/hello", "hello", "/etc/hostname"):
            with pytest.raises(InvalidError, match="a hard link to"):
                arena.unpack([zipped(Tar().file("a").hardlink("h", link), "gzip")])

        assert list(bench.snapshotter.walk()) == []


@pytest.mark.parametrize("kind", FOLDERS, ids=_name)
def test_an_attribute_that_a_file_system_has_no_room_for_is_named_and_the_disk_not_called_full(
    kind: Kind, victim: Path, tmp_path: Path
) -> None:
    with ext4(tmp_path, "-I", "256") as disk, Bench(disk / "store", kind) as bench:
        with pytest.raises(UnsupportedError, match=r"'user.a' of 5000 bytes: too large.*the disk is not full"):
            Arena(bench).unpack([zipped(Tar().file("f", xattrs={"user.a": "v" * 5000}), "gzip")])

        assert list(bench.snapshotter.walk()) == []
        assert bench.left_on_disk() == set()


@pytest.mark.parametrize("kind", FOLDERS, ids=_name)
def test_a_disk_without_inodes_is_told_and_nothing_is_left(kind: Kind, victim: Path, tmp_path: Path) -> None:
    tar = Tar()
    for number in range(1000):
        tar.file(f"d/{number}")
    small = ("-t", "tmpfs", "-o", "nr_inodes=600", "none")
    with mounted(tmp_path / "memory", *small) as memory, Bench(memory / "store", kind) as bench:
        with pytest.raises(ExhaustedError):
            Arena(bench).unpack([zipped(tar, "gzip")])

        assert list(bench.snapshotter.walk()) == []
        assert bench.left_on_disk() == set()


def test_a_metadata_image_needs_one_inode_whatever_it_holds(victim: Path, tmp_path: Path) -> None:
    tar = Tar()
    for number in range(1000):
        tar.file(f"d/{number}")
    small = ("-t", "tmpfs", "-o", "nr_inodes=600", "none")
    with mounted(tmp_path / "memory", *small) as memory, Bench(memory / "store", ErofsSnapshotter) as bench:
        image = Arena(bench).unpack([zipped(tar, "gzip")])

        assert len(bench.files(bench.snapshotter.view("view", image.chain_id))) == 1000
        bench.snapshotter.remove("view")


class Swapping(LocalStore):
    """A content store that swaps a folder which is being written for a symlink, when the first file asks for data."""

    def __init__(self, home: Path, victim: Path) -> None:
        """Stand in the place of the store of the same home."""
        super().__init__(home / "content", home / "ingest")
        self._home, self._victim = home, victim
        self.swapped = 0

    def open_fd(self, digest: Digest) -> int:
        """Open a blob as a descriptor, and do harm."""
        for folder in self._home.glob("snapshots/*/.new/*/*/fs/d"):
            if not folder.is_symlink():
                folder.rename(folder.parent / "moved")
                folder.symlink_to(self._victim)
                self.swapped += 1
        return super().open_fd(digest)


@pytest.mark.parametrize("link", [False, True], ids=["files", "and a link"])
@pytest.mark.parametrize("kind", FOLDERS, ids=_name)
def test_a_folder_that_somebody_swaps_for_a_symlink_meanwhile_leads_nowhere(
    kind: Kind, victim: Path, tmp_path: Path, *, link: bool
) -> None:
    tar = Tar().directory("d", mode=0o777, uid=9)
    for name in ("a", "b", "hello", "x"):
        tar.file(f"d/{name}", b"evil", mode=0o777, uid=9)
    if link:
        tar.hardlink("later", "d/hello")
    before = listing(victim)
    with Bench(tmp_path / "store", kind) as bench:
        bench.content = swapping = Swapping(bench.home, victim)
        bench.snapshotter = bench.open()
        with pytest.raises(StorageError) if link else nullcontext():
            Arena(bench).unpack([zipped(tar, "gzip")])
        assert swapping.swapped == 1
        assert len(list(bench.snapshotter.walk())) == (0 if link else 1)

    assert listing(victim) == before


def test_no_program_of_the_host_or_of_the_image_is_started_to_decompress(
    victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "bin"
    trap.mkdir()
    for name in (
        "gzip",
        "gunzip",
        "unpigz",
        "pigz",
        "igzip",
        "zstd",
        "unzstd",
        "tar",
        "bsdtar",
        "mount",
        "losetup",
        "mkfs.erofs",
    ):
        (trap / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (trap / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(trap))
    monkeypatch.chdir(trap)
    for kind in DRIVERS:
        with Bench(tmp_path / kind.driver, kind) as bench:
            image = Arena(bench).unpack(
                [zipped(Tar().file("bin/unpigz", b"evil", mode=0o755), how) for how in ("gzip", "zstd")]
            )
            assert bench.files(bench.snapshotter.view("view", image.chain_id)) == {"bin/unpigz": "evil"}
            bench.snapshotter.remove("view")

    assert not (tmp_path / "started").exists()


def _config(diff_ids: list[Digest]) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(one) for one in diff_ids]},
    }


def _image(layout: Path, layers: list[dict[str, object]], diff_ids: list[Digest]) -> LayoutSource:
    """Write an image whose documents say anything, and open its layout."""
    config = put_document(layout, _config(diff_ids), "application/vnd.oci.image.config.v1+json")
    manifest = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": manifest, "config": config.to_json(), "layers": layers}
    tag(layout, put_document(layout, document, manifest), "test")
    return LayoutSource(LayoutReference(layout, "test"))


def _layer(layout: Path, tar: Tar) -> tuple[dict[str, object], Digest]:
    data = tar.to_bytes()
    return put_blob(layout, data, "application/vnd.oci.image.layer.v1.tar").to_json(), Digest.of(data)


def _fetch(source: LayoutSource, tmp_path: Path) -> None:
    content = LocalStore(tmp_path / "content", tmp_path / "ingest")
    fetch_manifest(source, content, source.resolve(), Platform("linux", "amd64"))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_or_more_diff_ids_than_layers_are_refused_before_a_layer_is_fetched(count: int, tmp_path: Path) -> None:
    layers = [_layer(tmp_path / "layout", Tar().file(name)) for name in ("a", "b")]
    diff_ids = [layers[0][1], layers[1][1], Digest.of(b"")][:count]

    with pytest.raises(InvalidError, match=rf"2 layers, its config .* {count}\b|diff_ids"):
        _fetch(_image(tmp_path / "layout", [layer for layer, _ in layers], diff_ids), tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        {"digest": "sha256:../../../../etc/passwd"},
        {"digest": "sha256:" + "A" * 64},
        {"size": -1},
        {"size": True},
        {"size": None},
    ],
    ids=str,
)
def test_a_bad_descriptor_is_refused_though_its_chain_is_committed(
    bad: dict[str, object], victim: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    layer, diff_id = _layer(layout, Tar().file("a", b"1"))
    with Bench(tmp_path / "store", NativeSnapshotter) as bench:
        source = _image(layout, [layer], [diff_id])
        image = fetch_manifest(source, bench.content, source.resolve(), Platform("linux", "amd64"))
        bench.committed(Tar().file("a", b"1"))
        assert bench.snapshotter.committed(image.chain_id)

        source = _image(layout, [layer | bad], [diff_id])
        with pytest.raises(InvalidError, match=r"layers\[0\]"):
            fetch_manifest(source, bench.content, source.resolve(), Platform("linux", "amd64"))


def test_a_blob_that_is_not_here_is_no_excuse_for_a_type_that_is_none(victim: Path, tmp_path: Path) -> None:
    with Bench(tmp_path / "store", NativeSnapshotter) as bench:
        (layer,) = Arena(bench).unpack([zipped(Tar().file("a"), "gzip")]).layers
        other = layer._replace(descriptor=layer.descriptor._replace(media_type="text/plain"))

        with pytest.raises(UnsupportedError, match="no file system layer"):
            apply(bench.content, other, scans=Scans(bench.content))


def test_more_layers_than_anybody_stacks_are_refused_before_one_is_fetched(tmp_path: Path) -> None:
    layer, diff_id = _layer(tmp_path / "layout", Tar().file("a"))
    count = MAX_LAYERS + 1
    source = _image(tmp_path / "layout", [layer] * count, [diff_id] * count)

    with pytest.raises(ExhaustedError, match=f"{count} layers; images are limited to {MAX_LAYERS}"):
        _fetch(source, tmp_path)
    assert not list((tmp_path / "content").glob(f"blobs/*/{diff_id.encoded}"))


def test_annotations_of_a_layer_say_nothing_about_its_files(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layer, diff_id = _layer(layout, Tar().file("a"))
    named = {
        "io.github.containers.zstd-chunked.manifest-position": "1:2:3:4",
        "containerd.io/snapshot/stargz/toc.digest": "x",
    }
    source = _image(layout, [layer | {"annotations": named}], [diff_id])
    content = LocalStore(tmp_path / "content", tmp_path / "ingest")

    image = fetch_manifest(source, content, source.resolve(), Platform("linux", "amd64"))

    assert [part.diff_id for part in image.layers] == [diff_id]
