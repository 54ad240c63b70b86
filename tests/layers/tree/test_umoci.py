"""The model against umoci, which acts layers out on a real file system: the same tree comes of both."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.layers.tar.entry import Kind
from prestow.layers.tree import Inode, LayerDirectory, LayerTree, layer_tree, merge, walk
from tests.image_factory import write_image
from tests.layers.model import image, scan
from tests.real_images import RealImages
from tests.tar_builder import Tar
from tests.trees import Layers, Listed, differences, inode_listing, listing

CASES = {
    "whiteouts": [Tar().directory("d").file("d/old").file("a"), Tar().whiteout("d/old").whiteout("a").whiteout("zz")],
    "hidden and whited out inside": [Tar().directory("d").file("d/old"), Tar().whiteout("d").whiteout("d/old")],
    "whiteouts where nothing is": [Tar().file("x"), Tar().directory("nd").whiteout("nd/ghost").whiteout("no/ghost")],
    "hidden and made again": [Tar().directory("d").file("d/old"), Tar().whiteout("d").directory("d").file("d/new")],
    "made and hidden": [Tar().file("a", b"1"), Tar().file("a", b"2").whiteout("a")],
    "opaque root": [Tar().file("a").directory("k"), Tar().file(".wh..wh..opq").file("b")],
    "opaque at the end": [Tar().directory("d").file("d/a"), Tar().directory("d").file("d/b").opaque("d")],
    "opaque nowhere": [Tar().file("a"), Tar().opaque("d")],
    "whiteout through a symlink": [Tar().directory("e").file("e/f"), Tar().symlink("l", "/e").file("l/.wh.f")],
    "files and directories": [Tar().directory("d").file("d/x").file("f"), Tar().file("d").directory("f").file("f/y")],
    "ping-pong": [
        Tar().directory("foo").file("foo/z").directory("tmp"),
        Tar().directory("foo").symlink("foo", "/").file("foo/tmp/x").directory("foo").file("foo/y"),
    ],
    "file, then directory": [Tar().directory("d").file("d/x"), Tar().file("d").directory("d").file("d/y")],
    "hard link to a layer below": [Tar().file("a", b"1"), Tar().hardlink("b", "a"), Tar().hardlink("c", "b")],
    "hard links written differently": [Tar().file("t").hardlink("h", "./t").hardlink("i", "/t").hardlink("j", "i")],
    "hard link through a symlink": [Tar().directory("d").file("d/t").symlink("s", "d").hardlink("h", "s/t")],
    "hard link to a symlink": [Tar().symlink("s", "/etc/shadow").hardlink("h", "s", mode=0o777, uid=7)],
    "first of two names replaced": [Tar().file("a", b"1").hardlink("b", "a").file("a", b"2")],
    "known directory, unnamed": [Tar().directory("p", mode=0o700, uid=5, mtime=9).file("p/z"), Tar().file("p/q")],
    "root": [Tar().directory(".", mode=0o711, uid=7).file("x"), Tar().directory("./", mode=0o750)],
    "symlink, then directory": [Tar().directory("d").file("d/x").symlink("l", "d"), Tar().directory("l").file("l/y")],
    "twice": [Tar().file("f", b"1", mode=0o600).file("f", b"22", mode=0o640).directory("d").directory("d", mode=0o711)],
    "a slash behind a file": [Tar().file("f/", b"abc")],
    "directories of v7": [Tar().member("d/", typeflag=b"\0").file("d/f").member("e/", typeflag=b"\0", size=10)],
    "set-id and capability": [
        Tar().file("c", mode=0o4755, uid=1, xattrs={"security.capability": b"\1\0\0\2" + bytes(16)})
    ],
    "overlayfs's attributes": [Tar().directory("d", xattrs={"trusted.overlay.opaque": "y", "user.a": "b"})],
    "devices": [Tar().char("c", 1, 3).block("b", 8, 300).fifo("p", mode=0o600)],
    "times": [Tar().file("a", mtime=-5).file("b", pax={"mtime": "1.000000001"}).file("c", pax={"mtime": "-1.5"})],
    "nothing": [Tar(), Tar()],
}  # fmt: skip


def _by_umoci(tars: list[bytes], folder: Path) -> dict[bytes, Listed]:
    write_image(folder / "layout", tars, compression="none")
    command = ["umoci", "unpack", "--image", f"{folder}/layout:test", folder / "bundle"]
    subprocess.run(command, check=True, capture_output=True)
    return listing(folder / "bundle/rootfs")


def _by_model(tars: list[bytes], folder: Path) -> dict[bytes, Listed]:
    paths = tuple(folder / f"{index}.tar" for index in range(len(tars)))
    for path, tar in zip(paths, tars, strict=True):
        path.write_bytes(tar)
    return inode_listing(image(*tars), Layers(paths).open)


def _same(tars: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert differences(_by_umoci(tars, Path(folder)), _by_model(tars, Path(folder))) == []


@pytest.mark.parametrize("case", CASES)
def test_a_known_difficulty_is_solved_as_umoci_does(case: str) -> None:
    _same([Tar().directory(".").to_bytes(), *(tar.to_bytes() for tar in CASES[case])])


def test_an_image_of_real_software_is_what_umoci_unpacks(real_images: RealImages, tmp_path: Path) -> None:
    unpacked = real_images.unpacked("tiny", tmp_path / "bundle")
    tars = _uncompressed(real_images.layout, tmp_path)

    assert len(unpacked) > 30
    assert differences(unpacked, _by_model(tars, tmp_path)) == []


def _uncompressed(layout: Path, folder: Path) -> list[bytes]:
    """Return the tars of an image with other people's tools."""
    target = folder / "plain"
    command = ["skopeo", "copy", "-q", "--dest-decompress", f"oci:{layout}:tiny", f"dir:{target}"]
    subprocess.run(command, check=True)
    described = subprocess.run(
        ["skopeo", "inspect", "--format", "{{range .Layers}}{{println .}}{{end}}", f"dir:{target}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [(target / digest.partition(":")[2]).read_bytes() for digest in described.stdout.split()]


NAMES = ("a", "b", "c")
_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


class Stack:
    """Layers in the making, without that in which umoci departs from the OCI text or from ADR 4.

    It gives missing parents today's time, and so it does to a directory of the layer's own when a whiteout of the same
    name takes away what the layers below have in it; it follows symlinks of the layers below on the way to a member.
    """

    def __init__(self) -> None:
        """Start with a root."""
        self.tars = [Tar().directory(".", mtime=1)]
        self.lower: Inode | None = None
        self.members: list[str] = []

    def __repr__(self) -> str:
        """Show what was added."""
        return "; ".join(self.members)

    def layer(self) -> LayerTree:
        """Return the layer in the making."""
        return layer_tree(scan(self.tars[-1]), len(self.tars) - 1)

    def image(self) -> Inode:
        """Return the image so far."""
        return merge(self.lower, self.layer())

    def next_layer(self) -> None:
        """Begin another layer."""
        self.lower = self.image()
        self.tars.append(Tar())

    def kind(self, path: str) -> Kind | None:
        """Return what is at a path."""
        found = _found(self.image(), path)
        return found and found.kind

    def real(self, path: str) -> str | None:
        """Follow the symlinks on the way to a path; None if one is of a layer below, or leads nowhere."""
        layer = self.layer()
        image = merge(self.lower, layer)
        done: list[str] = []
        *todo, base = path.split("/")
        for _ in range(20):
            if not todo:
                return "/".join([*done, base])
            name, *todo = todo
            here = "/".join([*done, name])
            inode, own = _found(image, here), _found(layer.root, here)
            if inode is not None and inode.kind is Kind.DIRECTORY:
                done.append(name)
            elif inode is None or inode is not own or inode.kind is not Kind.SYMLINK:
                return None
            else:
                done = [] if inode.link.startswith(b"/") else done
                todo = [*filter(None, inode.link.decode().split("/")), *todo]
        return None

    def makes(self, path: str) -> bool:
        """Return whether the layer has a directory there."""
        return isinstance(_found(self.layer().root, path), LayerDirectory)

    def add(self, path: str, what: str, number: int, other: str) -> None:
        """Add a member, if it makes sense where it is."""
        tar, attributes = self.tars[-1], {"mtime": number, "uid": number % 5, "mode": 0o600 | number & 0o77}
        real = self.real(path)
        if real is None:
            return
        if what == "directory":
            tar.directory(path, xattrs={"user.d": str(number)} if number % 3 else None, **attributes)
        elif what == "file":
            tar.file(path, str(number).encode(), **attributes)
        elif what == "symlink":
            tar.symlink(path, f"/{other}" if number % 2 else other, mtime=number)
        elif what == "through":
            self._add_through(path, attributes)
        elif what == "hardlink" and self._may_link(real, other):
            tar.hardlink(path, other)
        else:
            self._add_mark(path, real, what)
        self.members.append(f"{len(self.tars)} {what} {path} {other}")

    def _may_link(self, real: str, other: str) -> bool:
        """Whether a hard link has a target; umoci removes what is in the link's place before it looks for that."""
        below = f"{self.real(other)}/".startswith(f"{real}/")
        return not below and self.kind(other) not in (None, Kind.DIRECTORY)

    def _add_mark(self, path: str, real: str, what: str) -> None:
        if what == "whiteout" and not self.makes(real):
            self.tars[-1].whiteout(path)
        elif what == "opaque" and self.kind(real) is Kind.DIRECTORY:
            self.tars[-1].opaque(path)

    def _add_through(self, path: str, attributes: dict[str, int]) -> None:
        """Add a symlink to one of the directories, and files through it."""
        folders = [found.decode() for found, inode in walk(self.image()) if inode.kind is Kind.DIRECTORY]
        self.tars[-1].symlink(path, f"/{folders[attributes['mtime'] % len(folders)]}", mtime=1)
        for name in NAMES[:2]:
            if self.real(f"{path}/{name}") is not None:
                self.tars[-1].file(f"{path}/{name}", b"through", **attributes)


def _found(root: Inode, path: str) -> Inode | None:
    inode: Inode | None = root
    for name in filter(None, path.split("/")):
        inode = inode.children.get(name.encode()) if inode and inode.children else None
    return inode


@st.composite
def _stacks(draw: st.DrawFn) -> Stack:
    stack = Stack()
    for _ in range(draw(st.integers(1, 3))):
        kinds = st.sampled_from(
            ("directory", "directory", "file", "symlink", "hardlink", "whiteout", "opaque", "through")
        )
        for member in draw(st.lists(st.tuples(_paths, kinds, st.integers(0, 999), _paths), max_size=10)):
            stack.add(*member)
        stack.next_layer()
    return stack


@settings(deadline=None, max_examples=40)
@given(_stacks())
def test_any_layers_are_the_tree_that_umoci_unpacks(stack: Stack) -> None:
    _same([tar.to_bytes() for tar in stack.tars])


@pytest.mark.parametrize(
    "tars",
    [
        [Tar().hardlink("h", "t").file("t")],
        [Tar().file("h").hardlink("h", "h")],
        [Tar().directory("d").hardlink("h", "d")],
        [Tar().symlink("a", "b").symlink("b", "a").file("a/x")],
        [Tar().file("f").file("f/c")],
        [Tar().symlink("l", "t"), Tar().symlink(".", "t")],
    ],
)
def test_what_umoci_cannot_do_is_refused(tars: list[Tar], tmp_path: Path) -> None:
    layers = [tar.to_bytes() for tar in tars]

    with pytest.raises(InvalidError):
        _by_model(layers, tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        _by_umoci(layers, tmp_path)
