"""An ordinary user gets the same tree, less what only root may do, and is told how much that is."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from prestow.layers.materialise import Materialised, materialise
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode, walk
from tests.trees import Layers, Listed, Sample, differences, directory, inode_listing, listing, other, regular, samples

_USER = 65_534


def _as_user(action: Callable[[], object]) -> str:
    """Do something in a child process that is an ordinary user; give the text of what comes of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(_USER, _USER, _USER)
            os.setresuid(_USER, _USER, _USER)
            text = repr(action())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent wants to know
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
        text = file.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that everybody can reach, other than those that pytest makes for root alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _make(root: Inode, folder: Path, layers: Layers | None = None) -> str:
    home = folder / "home"
    home.mkdir()
    os.chown(home, _USER, _USER)
    opener = (layers or Layers(())).open
    return _as_user(lambda: materialise(root, opener, home / "t", privileged=False))


def _ours(listed: dict[bytes, Listed]) -> dict[bytes, Listed]:
    """Return what an ordinary user can make of a listing."""
    kept = {path: one for path, one in listed.items() if one.kind not in {Kind.CHAR, Kind.BLOCK}}
    allowed = (b"user.", b"system.")
    return {
        path: replace(one, uid=_USER, gid=_USER, xattrs=tuple(x for x in one.xattrs if x[0].startswith(allowed)))
        for path, one in kept.items()
    }


@settings(deadline=None, max_examples=10)
@given(samples())
def test_any_tree_becomes_a_folder_as_far_as_allowed(sample: Sample) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        layers = sample.save(folder)
        inodes = {inode for _, inode in walk(sample.root) if inode.kind not in {Kind.CHAR, Kind.BLOCK}}
        names = [path for path, inode in walk(sample.root) if inode in inodes]

        made = _make(sample.root, folder, layers)

        assert differences(listing(folder / "home/t"), _ours(inode_listing(sample.root, layers.open))) == []
        assert made.startswith(f"Materialised(files={len(names) - 1},")
        assert f"unowned={sum((inode.uid, inode.gid) != (_USER, _USER) for inode in inodes)}," in made


def test_what_is_left_out_is_counted(folder: Path) -> None:
    own = regular(size=0, xattrs=((b"trusted.t", b""), (b"user.u", b"1")))
    own.uid = own.gid = _USER
    tree = directory({b"sda": other(Kind.BLOCK, major=8), b"tty": other(Kind.CHAR, major=5), b"own": own})
    expected = Materialised(files=1, bytes=0, unowned=1, devices=2, xattrs=1)

    assert _make(tree, folder) == repr(expected)
    assert os.getxattr(folder / "home/t/own", "user.u") == b"1"


@pytest.mark.parametrize("mode", [0, 0o200, 0o300, 0o400, 0o600, 0o666])
def test_links_reach_into_folders_that_end_up_closed(folder: Path, mode: int) -> None:
    file = regular(size=0)
    tree = directory({b"a": directory({b"b": directory({b"f": file}, mode)}, mode), b"f": file})

    _make(tree, folder)

    assert differences(listing(folder / "home/t"), _ours(inode_listing(tree, Layers(()).open))) == []


def test_a_mark_that_cannot_be_left_out_is_an_error(folder: Path) -> None:
    opaque = directory({})
    opaque.xattrs = ((b"trusted.overlay.opaque", b"y"),)

    assert _make(directory({b"d": opaque}), folder).startswith("UnsupportedError: 'd' in ")


def test_a_folder_that_we_may_not_write_to_is_told(folder: Path) -> None:
    made = _as_user(lambda: materialise(directory({}), Layers(()).open, folder / "t", privileged=False))

    assert made.startswith("StorageError: making ")


def test_read_only_files_are_written_before_they_are_closed(folder: Path) -> None:
    layer = folder / "layer"
    layer.write_bytes(b"content")
    file = regular(Extent(0, 0, 7), xattrs=((b"user.a", b"1"),))
    file.mode = 0o400

    _make(directory({b"f": file}, 0o500), folder, Layers((layer,)))

    assert (folder / "home/t/f").read_bytes() == b"content"
