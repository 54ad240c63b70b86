"""Trees become folders: equal to the model, whatever the tree, and nothing outside is touched."""

import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings

from prestow.errors import AlreadyExistsError, ExhaustedError, InvalidError, MismatchError, UnsupportedError
from prestow.layers.materialise import MAX_DEPTH, Materialised, materialise
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode, walk
from prestow.snapshots.mounts import syscalls
from tests.disks import ext4
from tests.trees import Layers, Sample, acl, differences, directory, inode_listing, listing, other, regular, samples

_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def _layers(folder: Path, *contents: bytes) -> Layers:
    return Layers.saved(folder, contents)


def _make(root: Inode, target: Path, layers: Layers | None = None) -> Materialised:
    return materialise(root, (layers or Layers(())).open, target, privileged=True)


@contextmanager
def _tmpfs(target: Path, options: str) -> Iterator[Path]:
    target.mkdir()
    syscalls.mount("tmpfs", str(target), "tmpfs", 0, options)
    try:
        yield target
    finally:
        syscalls.umount(str(target))


@settings(deadline=None, max_examples=15)
@given(samples())
def test_any_tree_becomes_a_folder_like_the_model(sample: Sample) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layers = sample.save(Path(folder))
        target = Path(folder) / "target"

        made = _make(sample.root, target, layers)

        assert differences(listing(target), inode_listing(sample.root, layers.open)) == []
        assert made.files == len(list(walk(sample.root))) - 1
        assert (made.unowned, made.devices, made.xattrs) == (0, 0, 0)


def test_holes_take_no_room(tmp_path: Path) -> None:
    layers = _layers(tmp_path, b"x" * 5000)
    file = regular(Extent(1 << 20, 100, 4000), size=1 << 30)

    made = _make(directory({b"f": file, b"hole": regular(size=1 << 30)}), tmp_path / "t", layers)

    assert made.bytes == 4000
    assert (tmp_path / "t/f").stat().st_blocks < 100
    assert (tmp_path / "t/hole").stat().st_blocks < 100


def test_a_target_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AlreadyExistsError, match="exists already"):
        _make(directory({}), tmp_path)


def test_nothing_is_inherited_from_the_folder_above(tmp_path: Path) -> None:
    os.setxattr(tmp_path, "system.posix_acl_default", acl(1000, 7))
    os.chown(tmp_path, 0, 1234)
    tmp_path.chmod(0o2777)
    tree = directory({b"d": directory({b"f": regular(size=0)}), b"p": other(Kind.FIFO)})

    _make(tree, tmp_path / "t")

    assert differences(listing(tmp_path / "t"), inode_listing(tree, Layers(()).open)) == []


def test_a_link_to_a_symlink_changes_nothing_behind_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch(0o400)
    os.utime(victim, (1, 1))
    link = other(Kind.SYMLINK, link=os.fsencode(victim))
    link.uid, link.mode, link.xattrs = 1000, 0o777, ((b"trusted.t", b"1"),)

    _make(directory({b"h": link, b"s": link}), tmp_path / "t")

    status = victim.stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_mtime, os.listxattr(victim)) == (0o400, 0, 1, [])
    assert (tmp_path / "t/h").lstat().st_ino == (tmp_path / "t/s").lstat().st_ino


def test_set_id_bits_and_capabilities_survive_the_change_of_owner(tmp_path: Path) -> None:
    file = regular(size=0, xattrs=((b"security.capability", _CAPABILITY),))
    file.mode, file.uid, file.gid = 0o6755, 1, 2

    _make(directory({b"f": file}), tmp_path / "t")

    assert (tmp_path / "t/f").stat().st_mode & 0o7777 == 0o6755
    assert os.getxattr(tmp_path / "t/f", "security.capability") == _CAPABILITY


def test_whiteouts_and_opaque_marks_are_made_as_they_are(tmp_path: Path) -> None:
    folder = directory({b"gone": other(Kind.CHAR)})
    folder.xattrs = ((b"trusted.overlay.opaque", b"y"),)

    _make(directory({b"d": folder}), tmp_path / "t")

    assert (tmp_path / "t/d/gone").lstat().st_rdev == 0
    assert os.getxattr(tmp_path / "t/d", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("name", [b"user.on-a-link", b"bogus.space"])
def test_attributes_that_the_kernel_knows_no_place_for_are_left_out(tmp_path: Path, name: bytes) -> None:
    link = other(Kind.SYMLINK, link=b"x")
    link.xattrs = ((name, b"1"),)

    assert _make(directory({b"l": link}), tmp_path / "t").xattrs == 1


@pytest.mark.parametrize(
    ("error", "name", "value", "message"),
    [
        (InvalidError, b"user.huge", bytes(70_000), "65535"),
        (InvalidError, b"user." + b"n" * 295, b"", "300 bytes"),
        (InvalidError, b"security.capability", b"rubbish", "capability"),
        (InvalidError, b"security.capability", struct.pack("<III", 0x01000000, 0, 0), "capability"),
        (InvalidError, b"system.posix_acl_access", b"", "version 2"),
        (InvalidError, b"system.posix_acl_access", b"\2\0\0\0" + bytes(7), "version 2"),
        (InvalidError, b"system.posix_acl_access", acl(1, 7)[:-8], "complete"),
        (InvalidError, b"system.posix_acl_access", acl(1, 15), "more than read"),
        (InvalidError, b"system.posix_acl_default", acl(1, 7), "only a directory"),
    ],
)
def test_attributes_that_cannot_be_are_refused_by_name(
    tmp_path: Path, error: type[Exception], name: bytes, value: bytes, message: str
) -> None:
    tree = directory({b"some-file": regular(size=0, xattrs=((name, value),))})

    with pytest.raises(error, match=message) as caught:
        _make(tree, tmp_path / "t")

    assert "some-file" in str(caught.value)
    assert name.decode()[:100] in str(caught.value)


@pytest.mark.parametrize("options", ["size=1m", "nr_inodes=20"])
def test_a_full_disk_is_told(tmp_path: Path, options: str) -> None:
    layers = _layers(tmp_path, bytes(2 << 20))
    children = {b"f%d" % i: regular(Extent(0, 0, 1 << 20)) for i in range(30)}

    with _tmpfs(tmp_path / "small", options) as small, pytest.raises(ExhaustedError, match=r"'f.*No space"):
        _make(directory(children), small / "t", layers)


def test_data_is_copied_between_file_systems(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    layers = _layers(tmp_path, content)
    tree = directory({b"f": regular(Extent(7, 100, 3_000_000), Extent(4_000_000, 5, 999))})

    with _tmpfs(tmp_path / "other", "") as folder:
        _make(tree, folder / "t", layers)
        assert differences(listing(folder / "t"), inode_listing(tree, layers.open)) == []


def test_a_layer_that_ends_too_early_is_noticed(tmp_path: Path) -> None:
    layers = _layers(tmp_path, bytes(600))

    with pytest.raises(MismatchError, match=r"'f'.*ends at byte 600"):
        _make(directory({b"f": regular(Extent(0, 512, 1000))}), tmp_path / "t", layers)


def _nested(depth: int) -> Inode:
    inode = directory({})
    for _ in range(depth):
        inode = directory({b"d": inode})
    return inode


def test_depth_is_limited_and_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are all that is wanted

    _make(_nested(MAX_DEPTH), tmp_path / "deep")
    with pytest.raises(ExhaustedError, match="at most 256"):
        _make(_nested(MAX_DEPTH + 1), tmp_path / "deeper")

    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_any_number_of_layers_takes_few_descriptors(tmp_path: Path) -> None:
    layers = _layers(tmp_path, *(b"%3d" % index for index in range(150)))
    tree = directory({b"%d" % index: regular(Extent(0, 0, 3), layer=index % 150) for index in range(300)})
    opened: set[int] = set()

    def opener(index: int) -> int:
        descriptor = layers.open(index)
        opened.add(descriptor)
        return descriptor

    materialise(tree, opener, tmp_path / "t", privileged=True)

    assert len(opened) <= 65
    assert (tmp_path / "t/299").read_bytes() == b"149"


@pytest.mark.parametrize("name", [b"a/b", b"/etc", b"..", b".", b""])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(InvalidError, match="not one component"):
        _make(directory({name: regular(size=0)}), tmp_path / "t")

    assert list((tmp_path / "t").iterdir()) == []


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"'l'.*'gone'"):
        _make(directory({b"l": other(Kind.HARDLINK, link=b"gone")}), tmp_path / "t")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (regular(size=1 << 62), "too large"),
        (regular(size=0, xattrs=((b"user.large", bytes(5000)),)), "not full"),
    ],
)
def test_what_ext4_cannot_hold_is_refused_by_name(tmp_path: Path, file: Inode, message: str) -> None:
    with ext4(tmp_path) as disk, pytest.raises(UnsupportedError, match=f"some-file.*{message}"):
        _make(directory({b"some-file": file}), disk / "t")


def test_swapping_a_folder_for_a_symlink_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "t"
    victim.mkdir()
    twice = regular(size=0)
    tree = directory({b"d": directory({b"%d" % i: twice if i % 10 == 0 else regular(size=0) for i in range(3000)})})
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            with suppress(OSError):
                (target / "d").rename(target / "moved")
                (target / "d").symlink_to(victim)
                (target / "d").unlink()
                (target / "moved").rename(target / "d")

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        with suppress(Exception):
            _make(tree, target)
    finally:
        over.set()
        attacker.join()

    assert list(victim.iterdir()) == []
    assert victim.stat().st_mode & 0o777 == 0o755
