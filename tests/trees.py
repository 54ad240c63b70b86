"""Trees for tests: what stands in a folder, what a model says should stand there, and random models with their data.

listing(folder) == inode_listing(root, layers.open)      else differences(…) tells what is not the same
@given(samples())                                       a tree and the bytes of its layers
"""

import hashlib
import os
import stat
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from hypothesis import strategies as st

from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode, Xattrs, walk

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Listed:
    """All that can be known of one name.

    Attributes:
        kind: type.
        mode: permission, set-id and sticky bits; 0o777 for symlinks.
        uid: owner.
        gid: group.
        size: of a regular file.
        sha256: of its content.
        link: target of a symlink.
        linked: first path of the same inode, if it has several; the number of links is not looked at.
        device: major and minor number.
        mtime_ns: time of modification.
        xattrs: extended attributes, sorted.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str
    link: bytes
    linked: bytes
    device: tuple[int, int]
    mtime_ns: int
    xattrs: Xattrs


def listing(folder: Path) -> dict[bytes, Listed]:
    """List a real folder, itself as ``b""``; no link is followed, no pipe or device opened."""
    names: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    found: dict[bytes, tuple[Listed, tuple[int, int]]] = {}
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for path, descriptor in _descriptors(b"", top):
            status = os.fstat(descriptor)
            inode = (status.st_dev, status.st_ino)
            names[inode].append(path)
            found[path] = _listed(descriptor, status), inode
    finally:
        os.close(top)
    return {path: _with_link(listed, sorted(names[inode])) for path, (listed, inode) in sorted(found.items())}


def timeless(listed: Mapping[bytes, Listed]) -> dict[bytes, Listed]:
    """Return names without the times of directories: those that no layer has an entry for have none."""
    return {name: replace(each, mtime_ns=0) if each.kind is Kind.DIRECTORY else each for name, each in listed.items()}


def _descriptors(path: bytes, folder: int) -> Iterator[tuple[bytes, int]]:
    """Yield each path below a folder, and it, with a descriptor opened for its path alone."""
    yield path, folder
    for name in map(os.fsencode, os.listdir(folder)):
        inner = path + b"/" + name if path else name
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    yield from _descriptors(inner, below)
                finally:
                    os.close(below)
            else:
                yield inner, descriptor
        finally:
            os.close(descriptor)


def _listed(descriptor: int, status: os.stat_result) -> Listed:
    kind = Kind(stat.S_IFMT(status.st_mode))
    itself = f"/proc/self/fd/{descriptor}"
    device = kind in {Kind.CHAR, Kind.BLOCK}
    return Listed(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is Kind.REGULAR else 0,
        sha256=_file_digest(itself) if kind is Kind.REGULAR else "",
        link=os.readlink(b"", dir_fd=descriptor) if kind is Kind.SYMLINK else b"",
        linked=b"",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if device else (0, 0),
        mtime_ns=status.st_mtime_ns,
        xattrs=tuple(sorted((os.fsencode(name), os.getxattr(itself, name)) for name in os.listxattr(itself))),
    )


def _file_digest(path: str) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - of a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_link(listed: Listed, names: list[bytes]) -> Listed:
    return replace(listed, linked=names[0]) if len(names) > 1 else listed


def inode_listing(root: Inode, open_layer: Callable[[int], int]) -> dict[bytes, Listed]:
    """List a model in the same form."""
    names: dict[Inode, list[bytes]] = defaultdict(list)
    found: dict[bytes, tuple[Listed, Inode]] = {}
    for path, inode in walk(root):
        names[inode].append(path)
        found[path] = _modelled(inode, open_layer), inode
    return {path: _with_link(listed, sorted(names[inode])) for path, (listed, inode) in sorted(found.items())}


def _modelled(inode: Inode, open_layer: Callable[[int], int]) -> Listed:
    return Listed(
        kind=inode.kind,
        mode=0o777 if inode.kind is Kind.SYMLINK else inode.mode,
        uid=inode.uid,
        gid=inode.gid,
        size=inode.size if inode.kind is Kind.REGULAR else 0,
        sha256=hashlib.sha256(file_content(inode, open_layer)).hexdigest() if inode.kind is Kind.REGULAR else "",
        link=inode.link,
        linked=b"",
        device=(inode.major, inode.minor),
        mtime_ns=inode.mtime_ns,
        xattrs=tuple(sorted(inode.xattrs)),
    )


def file_content(inode: Inode, open_layer: Callable[[int], int]) -> bytes:
    """Return what a regular file of the model contains."""
    data = bytearray(inode.size)
    for logical, offset, length in inode.extents:
        descriptor = open_layer(inode.layer)
        data[logical : logical + length] = os.pread(descriptor, length, offset)
        os.close(descriptor)
    return bytes(data)


def differences(first: Mapping[bytes, Listed], second: Mapping[bytes, Listed]) -> list[str]:
    """Tell, one line each, what the two do not have in common."""
    lines = [f"{path!r} only in the first" for path in first if path not in second]
    lines += [f"{path!r} only in the second" for path in second if path not in first]
    for path in first.keys() & second.keys():
        for field in fields(Listed):
            here, there = getattr(first[path], field.name), getattr(second[path], field.name)
            if here != there:
                lines.append(f"{path!r} {field.name}: {here!r} and {there!r}")
    return sorted(lines)


@dataclass(frozen=True, slots=True)
class Layers:
    """Uncompressed layers on disk."""

    paths: tuple[Path, ...]

    @classmethod
    def saved(cls, folder: Path, contents: Iterable[bytes]) -> Self:
        """Write layers to a folder."""
        paths = []
        for index, content in enumerate(contents):
            paths.append(folder / f"layer-{index}")
            paths[-1].write_bytes(content)
        return cls(tuple(paths))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of each in bytes."""
        return tuple(path.stat().st_size for path in self.paths)

    def open(self, index: int) -> int:
        """Return a descriptor of one."""
        return os.open(self.paths[index], os.O_RDONLY | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True, repr=False)
class Sample:
    """A tree, and the bytes of the layers that hold its data (not tars, but laid out as if in tars)."""

    root: Inode
    layers: tuple[bytes, ...]

    def __repr__(self) -> str:
        """Show what hypothesis has found."""
        attributes = ["extents", *(name for name in Inode.__slots__ if name not in {"children", "_data"})]
        shown = [(path, {name: getattr(inode, name) for name in attributes}) for path, inode in walk(self.root)]
        return "\n".join(f"{path!r}: {values}" for path, values in shown[:50])

    def save(self, folder: Path) -> Layers:
        """Write the layers to a folder."""
        return Layers.saved(folder, self.layers)


def directory(children: Mapping[bytes, Inode], mode: int = 0o755) -> Inode:
    """Make a directory."""
    inode = Inode(Kind.DIRECTORY, mode)
    inode.children = dict(children)
    return inode


def regular(*extents: Extent, size: int | None = None, layer: int = 0, xattrs: Xattrs = ()) -> Inode:
    """Make a regular file; without ``size`` it ends where its last extent does."""
    inode = Inode(Kind.REGULAR, 0o644)
    inode.size = extents[-1].logical + extents[-1].length if size is None else size
    inode.extents, inode.layer, inode.xattrs = extents, layer, xattrs
    return inode


def other(kind: Kind, *, link: bytes = b"", major: int = 0, minor: int = 0) -> Inode:
    """Make a symlink, device or pipe."""
    inode = Inode(kind)
    inode.link, inode.size, inode.major, inode.minor = link, len(link), major, minor
    return inode


_AWKWARD = (b"a", b"b", b"!", b"-", b"+x", b"..a", b"...", b".a", b"\xff\xfe", b"\n\x1b[2J", b"n" * 255, b"x" * 200)
_SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, 12_288, 70_001)
_IDS = (0, 1, 1000, 65_534, 2**32 - 2)
_MODES = (0, 0o600, 0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o7777)
_LINKS = (b"a", b"../b", b"/etc/passwd", b"l" * 447, b"l" * 448, b"l" * 449, b"l" * 512, b"l" * 900, b"l" * 4095)
_TIMES = (0, 1, -1, -1_500_000_000, 999_999_999, 1_700_000_000_123_456_789, 2**31 * 10**9, -(2**31) * 10**9)
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def acl(user: int, mask: int) -> bytes:
    """Return an access control list that names a user; ``mask`` is also the group's bits of the file's mode."""
    entries = ((1, 7, -1), (2, 5, user), (4, 5, -1), (16, mask, -1), (32, 0, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def names() -> st.SearchStrategy[bytes]:
    """Names of one component, ordinary and awkward."""
    some = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, ord("/")} & set(name))
    return st.one_of(st.sampled_from(_AWKWARD), some.filter(lambda name: name not in {b".", b".."}))


@st.composite
def _xattrs(draw: st.DrawFn, kind: Kind, mode: int) -> Xattrs:
    trusted = st.tuples(st.sampled_from([b"trusted.t", b"trusted." + b"t" * 247]), st.binary(max_size=600))
    possible = [trusted]
    if kind in {Kind.REGULAR, Kind.DIRECTORY}:
        named = st.sampled_from([b"user.a", b"user.\xff", b"user." + b"u" * 250])
        possible.append(st.tuples(named, st.binary(max_size=300)))
    if kind is Kind.REGULAR:
        possible.append(st.just((b"security.capability", _CAPABILITY)))
    if kind is not Kind.SYMLINK and mode & 0o707 == 0o700:
        possible.append(st.just((b"system.posix_acl_access", acl(1000, mode >> 3 & 7))))
    if kind is Kind.DIRECTORY:
        possible.append(st.just((b"system.posix_acl_default", acl(1000, 5))))
    return tuple(sorted(draw(st.lists(st.one_of(possible), max_size=3, unique_by=lambda pair: pair[0]))))


@st.composite
def _inodes(draw: st.DrawFn, kind: Kind) -> Inode:
    inode = Inode(kind, draw(st.sampled_from(_MODES)))
    inode.uid, inode.gid = draw(st.sampled_from(_IDS)), draw(st.sampled_from(_IDS))
    inode.mtime_ns = draw(st.sampled_from(_TIMES))
    if draw(st.integers(0, 3)) == 0:
        inode.xattrs = draw(_xattrs(kind, inode.mode))
    if kind in {Kind.CHAR, Kind.BLOCK}:
        inode.major, inode.minor = draw(st.sampled_from([(1, 3), (0, 1), (8, 0), (4095, 2**20 - 1), (259, 300)]))
    elif kind is Kind.SYMLINK:
        inode.link = draw(st.sampled_from(_LINKS))
        inode.size = len(inode.link)
    elif kind is Kind.REGULAR:
        inode.size = draw(st.sampled_from(_SIZES))
    return inode


@st.composite
def _sparse(draw: st.DrawFn) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return a size and runs of data (start, length) within it."""
    unit = draw(st.sampled_from([512, 4096, 65_536, 1000]))
    runs, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=4)):
        at += gap * unit
        runs.append((at, length * unit))
        at += length * unit
    return at + draw(st.sampled_from([0, 1, unit, 5 * unit + 3, 3 << 20])), tuple(runs)


_KINDS = (Kind.REGULAR, Kind.REGULAR, Kind.REGULAR, Kind.SYMLINK, Kind.FIFO, Kind.CHAR, Kind.BLOCK)
_leaves = st.sampled_from(_KINDS).flatmap(_inodes)


@st.composite
def _folders(draw: st.DrawFn, inner: st.SearchStrategy[Inode]) -> Inode:
    inode = draw(_inodes(Kind.DIRECTORY))
    inode.children = draw(st.dictionaries(names(), inner, max_size=5))
    if draw(st.integers(0, 15)) == 0:
        inode.children |= {b"many-%04d" % number: Inode(Kind.REGULAR) for number in range(2000)}
    return inode


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Random trees of every kind of file: empty, sparse, linked, set-id, in large folders, with awkward names."""
    root = draw(_folders(st.recursive(_leaves, lambda inner: st.one_of(inner, _folders(inner)), max_leaves=12)))
    folders = [inode for _, inode in walk(root) if inode.children is not None]
    files = [inode for _, inode in walk(root) if inode.children is None]
    if files:
        for name in draw(st.lists(names(), max_size=3)):
            folder = draw(st.sampled_from(folders))
            assert folder.children is not None
            folder.children.setdefault(name, draw(st.sampled_from(files)))
    layers = [bytearray() for _ in range(draw(st.integers(1, 3)))]
    placed: set[Inode] = set()
    for _, inode in walk(root):
        if inode.kind is Kind.REGULAR and inode.size and inode not in placed:
            placed.add(inode)
            _put(draw, inode, layers)
    if draw(st.booleans()):
        layers = [layer + bytes(-len(layer) % _BLOCK + 2 * _BLOCK) for layer in layers]
    return Sample(root, tuple(map(bytes, layers)))


def _put(draw: st.DrawFn, inode: Inode, layers: list[bytearray]) -> None:
    """Give a file content in one of the layers, from a block on, its runs right after each other."""
    runs: tuple[tuple[int, int], ...] = ((0, inode.size),)
    if draw(st.integers(0, 3)) == 0:
        inode.size, runs = draw(_sparse())
    inode.layer = draw(st.integers(0, len(layers) - 1))
    layer = layers[inode.layer]
    layer += bytes(-len(layer) % _BLOCK)
    extents = []
    for logical, length in runs:
        extents.append(Extent(logical, len(layer), length))
        layer += hashlib.shake_128(b"%d %d" % (len(layer), inode.layer)).digest(length)
    inode.extents = tuple(extents)
    if not inode.size:
        inode.layer = -1
