"""From tars in memory to entries, trees and images, and what they hold in a form to compare."""

import io
from dataclasses import dataclass

from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Entry, Kind
from prestow.layers.tar.reader import entries
from prestow.layers.tree import Inode, LayerTree, layer_tree, merge, walk
from tests.tar_builder import Tar

LIMITS = Limits()
Seen = dict[bytes, tuple[object, ...]]


def scan(tar: Tar | bytes, limits: Limits = LIMITS) -> list[Entry]:
    """Read all entries of a tar."""
    return list(entries(io.BytesIO(_bytes(tar)), limits=limits))


def layer(tar: Tar | bytes, index: int = 0, limits: Limits = LIMITS) -> LayerTree:
    """Return the tree of one layer."""
    return layer_tree(scan(tar, limits), index, limits=limits)


def image(*tars: Tar | bytes) -> Inode:
    """Merge layers, lowest first."""
    root: Inode | None = None
    for index, tar in enumerate(tars):
        root = merge(root, layer(tar, index))
    assert root is not None
    return root


def paths(root: Inode) -> set[str]:
    """Return all paths below the root."""
    return {path.decode("utf-8", "backslashreplace") for path, _ in walk(root) if path}


def find(root: Inode, path: str) -> Inode:
    """Return the inode at a path, which must be there."""
    inode = root
    for name in filter(None, path.split("/")):
        assert inode.children is not None
        inode = inode.children[name.encode()]
    return inode


def data(root: Inode, path: str, *tars: Tar | bytes) -> bytes:
    """Return the content of a file of an image made of ``tars``."""
    inode = find(root, path)
    assert inode.kind is Kind.REGULAR
    content = bytearray(inode.size)
    for logical, offset, length in inode.extents:
        content[logical : logical + length] = _bytes(tars[inode.layer])[offset : offset + length]
    return bytes(content)


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: Kind
    rest: tuple[object, ...]
    linked: bytes


def seen(root: Inode) -> dict[bytes, _Seen]:
    """Return everything that a tree says, by path; names of one file are told by the first of them."""
    first: dict[Inode, bytes] = {}
    found = {}
    for path, inode in walk(root):
        rest = (inode.mode, inode.uid, inode.gid, inode.mtime_ns, inode.size, inode.link, inode.major, inode.minor)
        more = (inode.xattrs, inode.layer, inode.extents)
        found[path] = _Seen(inode.kind, rest + more, first.setdefault(inode, path))
    return found


def _bytes(tar: Tar | bytes) -> bytes:
    return tar if isinstance(tar, bytes) else tar.to_bytes()
