"""What a layer's folder must hold, so that overlayfs shows the merged tree (overlayfs.rst, "whiteouts and opaque").

    difference(lower, merged) on top of lower, seen through overlayfs = merged

It is computed from the two trees, not from the layer's own marks, because overlayfs reads marks its own way: it
ignores an opaque root, lists whiteouts that have nothing to hide, and lets a folder that was removed and made again
show its old files. Here a whiteout, a character device 0:0, stands only where the lower tree has the name; a folder is
opaque if nothing of the lower one stays; and a file that gains or loses one of its names (hard links) is made again
under all of them.

Pure; trees share nodes, and an unchanged part is known by being the same node. The result shares nodes too. Packed
files have one name each in all trees that share them, and need no other one.
"""

from collections.abc import Iterator

from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Node
from prestow.layers.tree.packed import loose_nodes

OPAQUE = (b"trusted.overlay.opaque", b"y")


def difference(lower: Node | None, merged: Node) -> Node:
    """Return the folder to lay over ``lower``, with whiteouts and opaque marks.

    Args:
        lower: root of the tree below; None for nothing.
        merged: root of the tree to be seen.
    """
    if lower is None:
        return merged
    result = _bare(merged)
    touched = _compare(lower, merged, result)
    for path in tuple(_other_names(merged, result, touched)):
        _add(path, merged, result)
    return result


def whiteout() -> Node:
    """Return the node that hides a name of the lower tree."""
    return Node(Kind.CHAR, 0)


def _bare(folder: Node) -> Node:
    """Copy a directory without its children."""
    copy = Node(Kind.DIRECTORY, folder.mode)
    copy.uid, copy.gid, copy.mtime_ns, copy.xattrs = folder.uid, folder.gid, folder.mtime_ns, folder.xattrs
    return copy


def _children(folder: Node) -> dict[bytes, Node]:
    return {} if folder.children is None else folder.children


def _compare(lower: Node, merged: Node, result: Node) -> set[Node]:
    """Fill ``result`` name by name, and give all files that are new under a name, or lost one."""
    touched: set[Node] = set()
    pending = [(lower, merged, result)]
    while pending:
        below, seen, folder = pending.pop()
        old, new, made = _children(below), _children(seen), _children(folder)
        for name in old.keys() - new.keys():
            made[name] = whiteout()
            touched.update(_files_of(old[name]))
        for name, node in new.items():
            was = old.get(name)
            if was is node:
                continue
            if was is None or was.children is None or node.children is None or _replaces(was, node):
                made[name] = _whole(was, node)
                touched.update(_files_of(node), _files_of(was))
            else:
                made[name] = _bare(node)
                pending.append((was, node, made[name]))
    return touched


def _replaces(lower: Node, folder: Node) -> bool:
    """Whether nothing of a lower directory stays, and something has to be hidden."""
    old, new = _children(lower), _children(folder)
    if old.keys() <= new.keys():
        return False
    both = ((old[name], new[name]) for name in old.keys() & new.keys())
    return not any(was is node or (was.children is not None and node.children is not None) for was, node in both)


def _whole(lower: Node | None, node: Node) -> Node:
    """Return a node with all that is below it, opaque if it would merge with a lower directory."""
    if lower is None or lower.children is None or node.children is None:
        return node
    copy = _bare(node)
    copy.children = node.children
    copy.xattrs = tuple(sorted((*node.xattrs, OPAQUE)))
    return copy


def _files_of(node: Node | None) -> Iterator[Node]:
    """Yield all files at and below a node that may have other names, so all that are not packed."""
    if node is not None:
        yield from (inner for inner in (node, *loose_nodes(node)) if inner.kind is not Kind.DIRECTORY)


def _other_names(merged: Node, result: Node, touched: set[Node]) -> Iterator[tuple[bytes, ...]]:
    """Find the names of touched files that ``result`` does not have yet."""
    pending: list[tuple[tuple[bytes, ...], Node, Node | None]] = [((), merged, result)]
    while pending:
        path, seen, folder = pending.pop()
        made = _children(folder) if folder is not None else {}
        for name, node in seen.loose.items():
            there = made.get(name)
            if node.kind is not Kind.DIRECTORY:
                if there is None and node in touched:
                    yield (*path, name)
            elif there is None or (there is not node and there.children is not node.children):
                pending.append(((*path, name), node, there))


def _add(path: tuple[bytes, ...], merged: Node, result: Node) -> None:
    """Put the file at ``path`` of ``merged`` into ``result``, with the directories above it."""
    *above, name = path
    for step in above:
        merged = _children(merged)[step]
        result = _children(result).setdefault(step, _bare(merged))
    _children(result)[name] = _children(merged)[name]
