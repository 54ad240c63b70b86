"""From tars in memory to entries, trees and images, and what they hold in a form to compare."""

import io
from dataclasses import dataclass

from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Entry, Kind
from prestow.layers.tar.reader import entries
from prestow.layers.tree import LayerTree, Node, layer_tree, merge, walk
from tests.tar_builder import Tar

LIMITS = Limits()
Seen = dict[bytes, tuple[object, ...]]


def scan(tar: Tar | bytes, limits: Limits = LIMITS) -> list[Entry]:
    """Read all entries of a tar."""
    return list(entries(io.BytesIO(_bytes(tar)), limits=limits))


def layer(tar: Tar | bytes, index: int = 0, limits: Limits = LIMITS) -> LayerTree:
    """Return the tree of one layer."""
    return layer_tree(scan(tar, limits), index, limits=limits)


def image(*tars: Tar | bytes) -> Node:
    """Merge layers, lowest first."""
    root: Node | None = None
    for index, tar in enumerate(tars):
        root = merge(root, layer(tar, index))
    assert root is not None
    return root


def paths(root: Node) -> set[str]:
    """Return all paths below the root."""
    return {path.decode("utf-8", "backslashreplace") for path, _ in walk(root) if path}


def find(root: Node, path: str) -> Node:
    """Return the node at a path, which must be there."""
    node = root
    for name in filter(None, path.split("/")):
        assert node.children is not None
        node = node.children[name.encode()]
    return node


def data(root: Node, path: str, *tars: Tar | bytes) -> bytes:
    """Return the content of a file of an image made of ``tars``."""
    node = find(root, path)
    assert node.kind is Kind.REGULAR
    content = bytearray(node.size)
    for logical, offset, length in node.extents:
        content[logical : logical + length] = _bytes(tars[node.layer])[offset : offset + length]
    return bytes(content)


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: Kind
    rest: tuple[object, ...]
    linked: bytes


def seen(root: Node) -> dict[bytes, _Seen]:
    """Return everything that a tree says, by path; names of one file are told by the first of them."""
    first: dict[Node, bytes] = {}
    found = {}
    for path, node in walk(root):
        rest = (node.mode, node.uid, node.gid, node.mtime_ns, node.size, node.link, node.major, node.minor)
        more = (node.xattrs, node.layer, node.extents)
        found[path] = _Seen(node.kind, rest + more, first.setdefault(node, path))
    return found


def _bytes(tar: Tar | bytes) -> bytes:
    return tar if isinstance(tar, bytes) else tar.to_bytes()
