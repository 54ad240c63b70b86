"""The kernel, and fsck.erofs, read back from a metadata image what the model says."""

import errno
import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from prestow.layers.erofs.image import encode
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode
from tests.layers.erofs.kernel import fsck, fsck_block_bits, mounted, saved, sound
from tests.trees import Layers, Sample, differences, directory, inode_listing, listing, other, regular, samples


@settings(deadline=None, max_examples=25)
@given(samples())
def test_the_kernel_reads_any_tree_back_as_the_model_says(sample: Sample) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layers = sample.save(Path(folder))
        files = saved(encode(sample.root, layers.sizes), layers, Path(folder))

        with mounted(files, Path(folder) / "mnt") as target:
            assert differences(listing(target), inode_listing(sample.root, layers.open)) == []


@settings(deadline=None, max_examples=12)
@given(samples())
def test_fsck_accepts_any_tree_that_the_kernel_reads(sample: Sample) -> None:
    """Both see the same image: as it is shipped, or in larger blocks where fsck.erofs is old."""
    with tempfile.TemporaryDirectory() as folder:
        layers = sample.save(Path(folder))
        files = saved(encode(sample.root, layers.sizes, block_bits=fsck_block_bits()), layers, Path(folder))

        with mounted(files, Path(folder) / "mnt") as target:
            assert differences(listing(target), inode_listing(sample.root, layers.open)) == []
        assert "No errors found" in fsck(files)


def _compare(root: Inode, layers: Layers, folder: Path) -> None:
    files = saved(encode(root, layers.sizes), layers, folder)
    with mounted(files, folder / "mnt") as target:
        assert differences(listing(target), inode_listing(root, layers.open)) == []
    assert sound(root, layers)


def _layers(folder: Path, *contents: bytes) -> Layers:
    return Layers.saved(folder, contents)


def test_a_changed_superblock_is_refused(tmp_path: Path) -> None:
    layers = _layers(tmp_path)
    files = saved(encode(directory({}), layers.sizes, block_bits=fsck_block_bits()), layers, tmp_path)
    raw = bytearray(files[0].read_bytes())
    raw[1024 + 64] ^= 1  # of the volume's name
    files[0].write_bytes(raw)

    assert "failed to verify superblock checksum" in fsck(files)
    with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)), mounted(files, tmp_path / "mnt"):
        pass


def test_a_file_beyond_4_gib_is_read_at_its_end(tmp_path: Path) -> None:
    layers = _layers(tmp_path, bytes(512) + b"x" * 512)
    far = regular(Extent(5 << 30, 512, 512))
    large = regular(Extent(0, 512, 512), size=(1 << 40) + 1)
    files = saved(encode(directory({b"far": far, b"large": large}), layers.sizes), layers, tmp_path)

    with mounted(files, tmp_path / "mnt") as target:
        with (target / "far").open("rb") as file:
            file.seek(-513, os.SEEK_END)
            assert file.read() == b"\0" + b"x" * 512
        with (target / "large").open("rb") as file:
            assert file.read(513) == b"x" * 512 + b"\0"
            file.seek(-1, os.SEEK_END)
            assert file.read() == b"\0"


def test_holes_are_holes_for_those_who_ask(tmp_path: Path) -> None:
    layers = _layers(tmp_path, bytes(512) + b"x" * 8192)
    file = regular(Extent(8192, 512, 8192), size=32_768)
    files = saved(encode(directory({b"f": file}), layers.sizes), layers, tmp_path)

    with mounted(files, tmp_path / "mnt") as target, (target / "f").open("rb") as opened:
        assert os.lseek(opened.fileno(), 0, os.SEEK_DATA) == 8192
        assert os.lseek(opened.fileno(), 8192, os.SEEK_HOLE) == 16_384


def test_attributes_larger_than_blocks_are_read(tmp_path: Path) -> None:
    attributes = ((b"user.big", os.urandom(60_000)), (b"user.empty", b""), (b"user.more", os.urandom(5000)))
    folder = directory({b"n" * 250: regular(size=0)})
    folder.xattrs = attributes
    tree = directory({b"file": regular(Extent(0, 0, 512), xattrs=attributes), b"folder": folder})

    _compare(tree, _layers(tmp_path, os.urandom(512)), tmp_path)


def test_every_time_of_64_bits_is_kept(tmp_path: Path) -> None:
    pipes = {b"%d" % seconds: other(Kind.FIFO) for seconds in (-(2**62), -1, 2**33, 2**34 + 5, 2**62)}
    for seconds, inode in pipes.items():
        inode.mtime_ns = int(seconds) * 10**9 + 999_999_999

    _compare(directory(pipes), _layers(tmp_path), tmp_path)


@pytest.mark.parametrize("seconds", [-1, 0, 1_700_000_000, 2**34 + 5])
def test_what_a_compact_inode_can_and_cannot_tell_is_kept(tmp_path: Path, seconds: int) -> None:
    short = 2**16 - 1
    files, linked = {}, regular(Extent(0, 0, 9))
    for uid, gid, size in itertools.product((0, short, short + 1), (short, short + 1), (0, 700)):
        inode = files[b"%d-%d-%d" % (uid, gid, size)] = regular(*[Extent(0, 512, 700)] * (size > 0), size=size)
        inode.uid, inode.gid = uid, gid
    files |= {b"one": linked, b"two": linked, b"attributes": regular(size=0, xattrs=((b"user.a", b"b"),))}
    for inode in files.values():
        inode.mtime_ns = seconds * 10**9 + 999_999_999
    files[b"other time"] = regular(size=0)

    _compare(directory(files), _layers(tmp_path, os.urandom(2048)), tmp_path)


def test_a_file_too_large_for_a_compact_inode_has_its_size(tmp_path: Path) -> None:
    layers = _layers(tmp_path, b"")
    os.truncate(layers.paths[0], 5 << 30)
    sizes = (2**32 - 1, 2**32, 5 << 30)
    tree = directory({b"%d" % size: regular(Extent(0, 0, size)) for size in sizes})

    with mounted(saved(encode(tree, layers.sizes), layers, tmp_path), tmp_path / "mnt") as target:
        assert [(target / str(size)).stat().st_size for size in sizes] == [*sizes]


def test_folders_of_every_size_around_a_block_are_read(tmp_path: Path) -> None:
    folders = {b"%d" % n: directory({b"%08d" % i: regular(size=0) for i in range(n)}) for n in range(80)}
    folders |= {b"name%d" % n: directory({b"x" * n: regular(size=0)}) for n in range(1, 256)}

    _compare(directory(folders), _layers(tmp_path), tmp_path)


def test_a_large_folder_can_be_searched_and_walked(tmp_path: Path) -> None:
    layers = _layers(tmp_path)
    names = {b"%d-%s" % (i, b"n" * (i % 200)) for i in range(20_000)}
    files = saved(encode(directory({name: regular(size=0) for name in names}), layers.sizes), layers, tmp_path)

    with mounted(files, tmp_path / "mnt") as target:
        assert {os.fsencode(entry.name) for entry in target.iterdir()} == names
        assert all(os.path.lexists(os.fsencode(target) + b"/" + name) for name in names)
        assert not (target / "0-").is_dir()
        assert not (target / "20000").exists()


def test_layers_without_data_and_empty_layers_are_devices_too(tmp_path: Path) -> None:
    layers = _layers(tmp_path, b"", os.urandom(512), bytes(1024), os.urandom(1024), b"")

    _compare(
        directory({b"a": regular(Extent(0, 0, 512), layer=1), b"b": regular(Extent(0, 512, 9), layer=3)}),
        layers,
        tmp_path,
    )


def test_links_are_counted(tmp_path: Path) -> None:
    layers = _layers(tmp_path)
    file, link = regular(size=0), other(Kind.SYMLINK, link=b"nowhere")
    tree = directory(
        {b"a": file, b"b": file, b"l": link, b"d": directory({b"c": file, b"m": link, b"e": directory({})})}
    )
    files = saved(encode(tree, layers.sizes), layers, tmp_path)

    with mounted(files, tmp_path / "mnt") as target:
        assert [(target / name).lstat().st_nlink for name in ("", "a", "d/c", "l", "d", "d/e")] == [3, 3, 3, 2, 3, 2]
