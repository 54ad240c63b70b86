"""Merging: layers on layers (image-spec, layer.md, "Changesets"), as pure functions of trees.

    merge(lower, layer)        the image after one more layer
    compose(first, second)     two layers as one:  merge(merge(x, first), second) = merge(x, compose(first, second))

A layer's whiteouts and opaque marks work on what is below it, never on what it brings itself, in whatever order its
entries stand. What the layers below and the layer both have as a directory is one directory; else the layer's own
takes the place. A symlink of the layers below is replaced like any file, not followed: the meaning of a layer does not
depend on what it lies on. Only a hard link may name a file of the layers below; it is the file that was there before
this layer's whiteouts.

Trees are never changed, only built anew along the paths that a layer touches; everything else is shared. So are packed
files (:mod:`prestow.layers.tree.packed`).
"""

from prestow.errors import InvalidError, printable
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.directory import LayerDirectory, LayerTree
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.packed import Files, Packed


def merge(lower: Inode | None, layer: LayerTree) -> Inode:
    """Return the root of the image whose layers below are ``lower``, after ``layer``.

    Raises:
        InvalidError: a hard link to a file that is neither in the layer nor below it.
    """
    return _merged(lower, layer.root, lower)


def _merged(lower: Inode | None, upper: LayerDirectory, root: Inode | None) -> Inode:
    merged = Inode(Kind.DIRECTORY)
    _describe(merged, lower if lower is not None and upper.implicit else upper)
    children, added, files = _parts(lower, upper)
    for name, child in added.items():
        if isinstance(child, LayerDirectory):
            below = children.get(name)
            if below is not None and below.kind is Kind.DIRECTORY:
                children[name] = _merged(below, child, root)
            elif child.required:
                children[name] = _merged(None, child, root)
        else:
            children[name] = child if child.kind is not Kind.HARDLINK else _target(root, child.link)
    merged.hold(children if files is None else Packed(children, files))
    return merged


def _parts(lower: Inode | None, upper: LayerDirectory) -> tuple[dict[bytes, Inode], dict[bytes, Inode], Files | None]:
    """Return the inodes that stay of the layers below, those that a layer adds, and the files that stay packed."""
    children, files = ({}, None) if lower is None or upper.opaque else _remaining(lower, upper)
    packed = upper.packed
    if files is not None or packed is None:
        return children, upper.children, files
    if children:
        for name in packed.files.names():
            children.pop(name, None)
    return children, packed.loose, packed.files


def _remaining(lower: Inode, upper: LayerDirectory) -> tuple[dict[bytes, Inode], Files | None]:
    """Return the inodes and the packed files of a lower directory that ``upper`` does not hide.

    The caller replaces inodes that the layer has too; packed files that it has too are left out here. When a second
    layer hides some of the same files they are unpacked, or hundreds of layers would repack them hundreds of times.
    """
    packed, files = lower.packed, None
    children = lower.children if packed is None else packed.loose
    if packed is not None:
        gone = _gone(upper)
        if gone.isdisjoint(packed.files.names()):
            files = packed.files
        elif packed.files.whole is None:
            files = packed.files.without(gone)
        else:
            children = lower.children
    return {name: inode for name, inode in (children or {}).items() if name not in upper.whiteouts}, files


def _gone(upper: LayerDirectory) -> set[bytes]:
    """Return the names that a directory of a layer hides or replaces in the layers below."""
    packed = upper.packed
    children = upper.children if packed is None else packed.loose
    gone = {name for name, child in children.items() if not isinstance(child, LayerDirectory) or child.required}
    return gone.union(upper.whiteouts, () if packed is None else packed.files.names())


def _target(root: Inode | None, path: bytes) -> Inode:
    """Find the file of the layers below that a hard link names."""
    inode = root
    for name in path.split(b"/"):
        inode = inode.child(name) if inode is not None else None
    if inode is None or inode.kind is Kind.DIRECTORY:
        raise _no_target(path)
    return inode


def _no_target(path: bytes) -> InvalidError:
    return InvalidError(
        f"layer: a hard link to {printable(path)!r}, which is no file of this layer or of those below it; "
        "the image is broken, build it again"
    )


def compose(first: LayerTree, second: LayerTree) -> LayerTree:
    """Return the layer that does what ``second`` on ``first`` does; what ``second`` hides of ``first`` is forgotten.

    Raises:
        InvalidError: ``second`` has a hard link to a file that ``first`` hides or has as something else.
    """
    root = _composed(first.root, second.root, first.root)
    dropped = dict(first.dropped)
    for name, count in second.dropped:
        dropped[name] = dropped.get(name, 0) + count
    return LayerTree(root, tuple(sorted(dropped.items())))


def _composed(first: LayerDirectory, second: LayerDirectory, root: LayerDirectory) -> LayerDirectory:
    composed = LayerDirectory()
    _describe(composed, first if second.implicit else second)
    composed.implicit = first.implicit and second.implicit
    composed.required = first.required or second.required
    composed.opaque = first.opaque or second.opaque
    composed.whiteouts = set(first.whiteouts | second.whiteouts)
    if not second.opaque:
        composed.hold({name: inode for name, inode in first.children.items() if name not in second.whiteouts})
    for name, child in second.children.items():
        _lay(composed, name, child, root)
    return composed


def _lay(composed: LayerDirectory, name: bytes, child: Inode, root: LayerDirectory) -> None:
    """Put a child of the second layer where the first one may have something."""
    below = composed.children.get(name)
    if not isinstance(child, LayerDirectory):
        composed.children[name] = child if child.kind is not Kind.HARDLINK else _composed_target(root, child)
    elif isinstance(below, LayerDirectory):
        composed.children[name] = _composed(below, child, root)
    elif below is None or child.required:
        composed.children[name] = _composed(LayerDirectory(), child, root)
        if below is not None:
            composed.hide(name)  # the first layer's file had hidden it already


def _composed_target(first: LayerDirectory, link: Inode) -> Inode:
    """Find what a hard link of the second layer names: a file of the first, or one that is still to be found below."""
    *folders, base = link.link.split(b"/")
    directory: Inode = first
    hidden = False
    for name in [*folders, base]:
        if not isinstance(directory, LayerDirectory):
            raise _no_target(link.link)
        hidden = hidden or directory.opaque or name in directory.whiteouts
        found = directory.children.get(name)
        if found is None:
            if hidden:
                raise _no_target(link.link)
            return link
        directory = found
    if isinstance(directory, LayerDirectory):
        if directory.required or hidden:
            raise _no_target(link.link)
        return link  # only whiteouts stand there
    return directory


def _describe(inode: Inode, like: Inode) -> None:
    inode.mode, inode.uid, inode.gid = like.mode, like.uid, like.gid
    inode.mtime_ns, inode.xattrs = like.mtime_ns, like.xattrs
