"""What a layer's folder must hold, so that overlayfs shows the merged tree (overlayfs.rst, "whiteouts and opaque").

    difference(lower, merged) on top of lower, seen through overlayfs = merged

It is computed from the two trees, not from the layer's own marks, because overlayfs reads marks its own way: it
ignores an opaque root, lists whiteouts that have nothing to hide, and lets a folder that was removed and made again
show its old files. Here a whiteout, a character device 0:0, stands only where the lower tree has the name; a folder is
opaque if nothing of the lower one stays; and a file that gains or loses one of its names (hard links) is made again
under all of them.

Pure; trees share inodes, and an unchanged part is known by being the same inode. The result shares inodes too. Packed
files have one name each in all trees that share them, and need no other one.
"""

from collections.abc import Iterator

from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.packed import loose_inodes

OPAQUE = (b"trusted.overlay.opaque", b"y")


def difference(lower: Inode | None, merged: Inode) -> Inode:
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


def whiteout() -> Inode:
    """Return the inode that hides a name of the lower tree."""
    return Inode(Kind.CHAR, 0)


def _bare(folder: Inode) -> Inode:
    """Copy a directory without its children."""
    copy = Inode(Kind.DIRECTORY, folder.mode)
    copy.uid, copy.gid, copy.mtime_ns, copy.xattrs = folder.uid, folder.gid, folder.mtime_ns, folder.xattrs
    return copy


def _children(folder: Inode) -> dict[bytes, Inode]:
    return {} if folder.children is None else folder.children


def _compare(lower: Inode, merged: Inode, result: Inode) -> set[Inode]:
    """Fill ``result`` name by name, and give all files that are new under a name, or lost one."""
    touched: set[Inode] = set()
    pending = [(lower, merged, result)]
    while pending:
        below, seen, folder = pending.pop()
        old, new, made = _children(below), _children(seen), _children(folder)
        for name in old.keys() - new.keys():
            made[name] = whiteout()
            touched.update(_files_of(old[name]))
        for name, inode in new.items():
            was = old.get(name)
            if was is inode:
                continue
            if was is None or was.children is None or inode.children is None or _replaces(was, inode):
                made[name] = _whole(was, inode)
                touched.update(_files_of(inode), _files_of(was))
            else:
                made[name] = _bare(inode)
                pending.append((was, inode, made[name]))
    return touched


def _replaces(lower: Inode, folder: Inode) -> bool:
    """Whether nothing of a lower directory stays, and something has to be hidden."""
    old, new = _children(lower), _children(folder)
    if old.keys() <= new.keys():
        return False
    both = ((old[name], new[name]) for name in old.keys() & new.keys())
    return not any(was is inode or (was.children is not None and inode.children is not None) for was, inode in both)


def _whole(lower: Inode | None, inode: Inode) -> Inode:
    """Return an inode with all that is below it, opaque if it would merge with a lower directory."""
    if lower is None or lower.children is None or inode.children is None:
        return inode
    copy = _bare(inode)
    copy.children = inode.children
    copy.xattrs = tuple(sorted((*inode.xattrs, OPAQUE)))
    return copy


def _files_of(inode: Inode | None) -> Iterator[Inode]:
    """Yield all files at and below an inode that may have other names, so all that are not packed."""
    if inode is not None:
        yield from (inner for inner in (inode, *loose_inodes(inode)) if inner.kind is not Kind.DIRECTORY)


def _other_names(merged: Inode, result: Inode, touched: set[Inode]) -> Iterator[tuple[bytes, ...]]:
    """Find the names of touched files that ``result`` does not have yet."""
    pending: list[tuple[tuple[bytes, ...], Inode, Inode | None]] = [((), merged, result)]
    while pending:
        path, seen, folder = pending.pop()
        made = _children(folder) if folder is not None else {}
        for name, inode in seen.loose.items():
            there = made.get(name)
            if inode.kind is not Kind.DIRECTORY:
                if there is None and inode in touched:
                    yield (*path, name)
            elif there is None or (there is not inode and there.children is not inode.children):
                pending.append(((*path, name), inode, there))


def _add(path: tuple[bytes, ...], merged: Inode, result: Inode) -> None:
    """Put the file at ``path`` of ``merged`` into ``result``, with the directories above it."""
    *above, name = path
    for step in above:
        merged = _children(merged)[step]
        result = _children(result).setdefault(step, _bare(merged))
    _children(result)[name] = _children(merged)[name]
