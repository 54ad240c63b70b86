"""The sinks against what others make of the same layers: GNU tar, umoci, and each other."""

import os
import subprocess
from pathlib import Path

import pytest

from prestow.layers.erofs.image import encode
from prestow.layers.limits import Limits
from prestow.layers.materialise import materialise
from prestow.layers.tar.reader import entries
from prestow.layers.tree import layer_tree, merge
from prestow.layers.tree.inode import Inode
from tests.image_factory import demo_layers, write_image
from tests.layers.erofs.kernel import mounted, saved, sound
from tests.tar_builder import Tar
from tests.trees import Layers, Listed, acl, differences, inode_listing, listing


def _merged(layers: Layers) -> Inode:
    root = None
    for index, path in enumerate(layers.paths):
        with path.open("rb") as file:
            root = merge(root, layer_tree(entries(file, limits=Limits()), index))
    assert root is not None
    return root


def _compare(layers: Layers, expected: dict[bytes, Listed], folder: Path) -> None:
    """Hold the model and both sinks against what somebody else has made."""
    root = _merged(layers)

    materialise(root, layers.open, folder / "target", privileged=True)
    with mounted(saved(encode(root, layers.sizes), layers, folder), folder / "mnt") as target:
        assert differences(listing(target), expected) == []
    assert sound(root, layers)
    assert differences(listing(folder / "target"), expected) == []
    assert differences(inode_listing(root, layers.open), expected) == []


def _furnished(folder: Path) -> Path:
    """Make a folder with everything that GNU tar can pack."""
    folder.mkdir()
    (folder / "plain").write_bytes(os.urandom(1500))
    (folder / "empty").touch()
    (folder / ("long-" + "n" * 240)).write_bytes(b"x")
    deep = folder.joinpath(*(f"{level}-{'d' * 60}" for level in range(5)))
    deep.mkdir(parents=True)
    os.link(folder / "plain", deep / "hard link")
    (deep / "link").symlink_to("../" * 40 + "t" * 200)
    (folder / "set-id").write_bytes(b"#!")
    os.chown(folder / "set-id", 12, 3_000_000_000)
    (folder / "set-id").chmod(0o6755)
    os.mkfifo(folder / "pipe")
    os.mknod(folder / "null", 0o20_666, os.makedev(1, 3))
    with (folder / "sparse").open("wb") as file:
        for offset in (0, 1 << 16, 5 << 20):
            file.seek(offset)
            file.write(os.urandom(4096))
        file.truncate(9 << 20)
    with (folder / "odd").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"the end of a sparse file")
    os.setxattr(folder / "plain", "user.some", b"value\0\xff\n")
    os.setxattr(folder, "system.posix_acl_default", acl(1000, 5))
    os.utime(folder / "empty", ns=(0, -1_234_567_890_123_456_789))
    return folder


@pytest.mark.parametrize("dialect", ["gnu", "posix", "oldgnu", "pax-0.0", "pax-0.1"])
def test_what_gnu_tar_packs_comes_out_as_it_was(tmp_path: Path, dialect: str) -> None:
    source = _furnished(tmp_path / "source")
    packed = tmp_path / "packed.tar"
    version = dialect.removeprefix("pax-")
    options = [f"--sparse-version={version}", "--format=posix"] if version != dialect else [f"--format={dialect}"]
    if "posix" in options[-1]:
        options += ["--xattrs", "--xattrs-include=*"]
    subprocess.run(["tar", "--sparse", *options, "-C", str(source), "-cf", str(packed), "."], check=True)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    command = ["tar", "--xattrs", "--xattrs-include=*", "--same-owner", "-C", str(unpacked), "-xpf", str(packed)]
    subprocess.run(command, check=True)

    _compare(Layers((packed,)), listing(unpacked), tmp_path)


def _umoci(folder: Path, tars: list[bytes]) -> dict[bytes, Listed]:
    write_image(folder / "layout", tars, ref="test")
    command = ["umoci", "unpack", "--image", f"{folder / 'layout'}:test", str(folder / "bundle")]
    subprocess.run(command, check=True, capture_output=True)
    return listing(folder / "bundle/rootfs")


def test_the_demo_image_is_what_umoci_unpacks(tmp_path: Path) -> None:
    tars = demo_layers("amd64")

    _compare(Layers.saved(tmp_path, tars), _umoci(tmp_path, tars), tmp_path)


def test_whiteouts_and_replacements_are_what_umoci_makes_of_them(tmp_path: Path) -> None:
    base = Tar()
    for name in ("a", "a/b", "keep", "turn", "opaque", "opaque/old"):
        base.directory(name, mtime=7)
    for name in ("a/b/f", "a/g", "keep/f", "turn/f", "opaque/x", "opaque/old/y", "file", "link-me"):
        base.file(name, name.encode() * 300, mtime=8, uid=5)
    base.hardlink("keep/again", "link-me", mtime=8, uid=5)
    change = Tar().directory("a", mtime=9).whiteout("a/b").file("turn", b"now a file", mtime=9)
    change.directory("opaque", mtime=9).file("opaque/.wh..wh..opq").file("opaque/new", b"n", mtime=9)
    change.directory("file", mode=0o700, mtime=9).file("file/inside", b"i", mtime=9).symlink("link-me", "a/g", mtime=9)
    last = Tar().file("keep/f", b"third", mtime=10, mode=0o4711).whiteout("a/g").directory("keep", mtime=11)
    tars = [tar.to_bytes() for tar in (base, change, last)]

    _compare(Layers.saved(tmp_path, tars), _umoci(tmp_path, tars), tmp_path)
