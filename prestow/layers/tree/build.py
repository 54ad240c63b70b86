"""The tree of one layer: its entries in order, every name resolved inside the layer.

A name is resolved in this model and never by a kernel: from the root, component by component, through symlinks that
the layer itself holds, which cannot lead out, for above the root there is nothing. What it passes and does not find is
an implicit directory. Later entries replace earlier ones of the same name; a directory stays when it is named again
and takes the new attributes.

    entry                      becomes
    d/.wh.x                    whiteout ``x`` of ``d``: hides ``x`` of the layers below, never one of this layer
    d/.wh..wh..opq             ``d`` is opaque: hides all that the layers below have in it
    hard link                  its target's inode; or, if the layer has no such file, a HARDLINK inode for the merge
    file, then a directory     the directory, and a whiteout: the file had replaced what was below

Refused: ``..`` in names and hard links' targets, files below files, symlink loops, another type than directory for
the root, whiteouts of nothing, of ``.`` and ``..``, and overlayfs's own whiteout, the character device 0:0, which
would hide files without saying so.
"""

from collections import Counter
from collections.abc import Iterable

from prestow.errors import InvalidError, printable
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Entry, Kind
from prestow.layers.tree.directory import LayerDirectory, LayerTree
from prestow.layers.tree.inode import Inode, Xattrs
from prestow.layers.tree.packed import FEW, pack
from prestow.layers.tree.paths import Walk, refusal
from prestow.layers.tree.xattr_filter import XattrFilter

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"

_OWN_MARKS = b".wh..wh."  # marks of the old aufs driver; plain files to everybody else
_DOT = ord(".")
_DOTS = (b"", b".", b"..")

MAX_NAME, MAX_PATH = 255, 4095
MAX_LINKS = 65_000
"""Names of one file, as many as ext4 gives it."""

MANY_NODES = 50_000
"""Inodes in directories that an archive has left, 11 MiB of them, from which on the next directories are packed."""

MAX_FOLLOWED = 16 << 20
"""Bytes of symlinks followed for one layer: seconds of work, where a hostile one could ask for days."""


def layer_tree(entries: Iterable[Entry], layer: int, *, limits: Limits | None = None) -> LayerTree:
    """Build the tree of a layer.

    Args:
        entries: its members in order.
        layer: its index, for the inodes of files with data.
        limits: how deep it may be.

    Raises:
        InvalidError: an entry makes no sense; the message names it and the byte offset of its header.
    """
    builder = _Builder(layer, limits or Limits())
    for entry in entries:
        builder.add(entry)
    builder.leave()
    return LayerTree(builder.root, builder.xattrs.dropped())


class _Builder:
    """A tree in the making."""

    def __init__(self, layer: int, limits: Limits) -> None:
        self.root = LayerDirectory()
        self.root.required = True
        self.xattrs = XattrFilter()
        self._layer = layer
        self._max_depth = limits.max_depth
        self._parents: dict[bytes, LayerDirectory] = {}  # by the text of a path; right until something is replaced
        self._path: bytes | None = None
        self._parent = self.root
        self._open: list[tuple[bytes, LayerDirectory]] = []  # by path: the current directory and those that contain it
        self._left = 0  # inodes in directories that were left
        self._packed: dict[LayerDirectory, int] = {}  # with as many children as they had then
        self._links: Counter[Inode] = Counter()
        self._followed = 0

    def add(self, entry: Entry) -> None:
        """Take in one entry."""
        name = entry.name
        if name.endswith(b"/"):
            name = name.rstrip(b"/")
        path, _, base = name.rpartition(b"/")
        if base in _DOTS:
            path, base = _normal(name, entry)
        if not base:
            self._set_root(entry)
        elif base[0] != _DOT or not self._mark(path, base, entry):
            self._place(path, base, entry)

    def _place(self, path: bytes, base: bytes, entry: Entry) -> None:
        """Put what is no mark where it belongs."""
        if path != self._path:
            self._enter(path, entry)
        parent = self._parent
        _check_name(base, entry)
        if entry.kind is Kind.DIRECTORY:
            self._add_directory(parent, base, entry)
        else:
            inode = self._linked(parent, base, entry) if entry.kind is Kind.HARDLINK else self._file(entry)
            self._put(parent, base, inode)

    def _enter(self, path: bytes, entry: Entry) -> None:
        """Make ``path`` the current directory, and leave those that do not contain it."""
        parent = self._parents.get(path)
        if parent is None:
            parent = self._parents[path] = self._directory(path, entry)
        self.leave(path)
        if not self._open or self._open[-1][1] is not parent:
            self._open.append((path, parent))
        self._path, self._parent = path, parent

    def leave(self, path: bytes | None = None) -> None:
        """Pack the open directories that do not contain ``path``: an archive seldom returns to a directory.

        A directory to which it does return is packed again only when it has doubled, or the work would be quadratic.
        """
        while self._open and (path is None or not _is_inside(path, self._open[-1][0])):
            _, directory = self._open.pop()
            count = 0 if directory.packed is not None else len(directory.children)
            self._left += count
            if self._left > MANY_NODES and count >= max(FEW, 2 * self._packed.get(directory, 0)):
                self._packed[directory] = count
                pack(directory, self._links)

    def _set_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise refusal(entry, "would replace the root directory")
        self._describe(self.root, entry)
        self.root.implicit = False

    def _mark(self, path: bytes, base: bytes, entry: Entry) -> bool:
        """Take a whiteout or opaque mark in; False if it is none."""
        if not base.startswith(WHITEOUT) or (base.startswith(_OWN_MARKS) and base != OPAQUE):
            return False
        hidden = base[len(WHITEOUT) :]
        if hidden in _DOTS:
            raise refusal(entry, "a whiteout of nothing, or of a dot")
        parent = self._parents.get(path) or self._directory(path, entry, required=False)
        if base == OPAQUE:
            parent.opaque = True
        else:
            parent.hide(hidden)
        return True

    def _directory(self, path: bytes, entry: Entry, *, required: bool = True) -> LayerDirectory:
        """Resolve the name of a directory, and make what is missing."""
        if len(path) >= MAX_PATH:
            raise refusal(entry, f"a path of more than {MAX_PATH} bytes")
        parts = path.split(b"/")
        if b".." in parts:
            raise _climbs(entry)
        walk = Walk(self.root, parts, entry)
        while (name := walk.step()) is not None:
            walk.enter(name, self._make(walk, name, entry))
        self._count_work(walk, entry)
        if required:
            for directory in walk.trail:
                directory.required = True
        return walk.trail[-1]

    def _count_work(self, walk: Walk, entry: Entry) -> None:
        self._followed += walk.followed
        if self._followed > MAX_FOLLOWED:
            raise refusal(entry, "the layer's names lead through too many symlinks")

    def _make(self, walk: "Walk", name: bytes, entry: Entry) -> LayerDirectory:
        if len(walk.trail) >= self._max_depth:
            raise refusal(entry, f"more than {self._max_depth} directories deep")
        _check_name(name, entry)
        made = LayerDirectory()
        walk.trail[-1].children[name] = made
        return made

    def _add_directory(self, parent: LayerDirectory, base: bytes, entry: Entry) -> None:
        old = parent.children.get(base)
        if isinstance(old, LayerDirectory):
            directory = old
        else:
            directory = LayerDirectory()
            self._put(parent, base, directory)
            if old is not None:
                parent.hide(base)
        self._describe(directory, entry)
        directory.implicit = False
        directory.required = True

    def _put(self, parent: LayerDirectory, base: bytes, inode: Inode) -> None:
        children = parent.children
        old = children.get(base)
        if old is not None and old.kind in (Kind.DIRECTORY, Kind.SYMLINK):
            self._parents.clear()
            self._path = None
        children[base] = inode

    def _file(self, entry: Entry) -> Inode:
        kind = entry.kind
        inode = Inode(kind, entry.mode)
        inode.uid, inode.gid, inode.mtime_ns = entry.uid, entry.gid, entry.mtime_ns
        if kind is Kind.REGULAR:
            inode.size = entry.size
            if extents := entry.extents:
                inode.extents = extents
                inode.layer = self._layer
        elif kind is Kind.SYMLINK:
            if not 0 < len(entry.link) <= MAX_PATH:
                raise refusal(entry, f"a symlink to {len(entry.link)} bytes; possible are 1 to {MAX_PATH}")
            inode.link = entry.link
            inode.size = len(entry.link)
        else:
            inode.major, inode.minor = entry.major, entry.minor
            if kind is Kind.CHAR and not entry.major and not entry.minor:
                raise refusal(entry, "character device 0:0, which overlayfs takes for a whiteout")
        if entry.xattrs:
            inode.xattrs = self._allowed(entry)
        return inode

    def _describe(self, inode: Inode, entry: Entry) -> None:
        inode.mode, inode.uid, inode.gid, inode.mtime_ns = entry.mode, entry.uid, entry.gid, entry.mtime_ns
        inode.xattrs = self._allowed(entry) if entry.xattrs else ()

    def _allowed(self, entry: Entry) -> Xattrs:
        try:
            return self.xattrs.allowed(entry.kind, entry.xattrs)
        except InvalidError as error:
            raise refusal(entry, str(error)) from error

    def _linked(self, parent: LayerDirectory, base: bytes, entry: Entry) -> Inode:
        """Return the inode that a hard link at ``base`` of ``parent`` names."""
        inode = self._target(parent, base, entry)
        self._links[inode] += 1
        if self._links[inode] >= MAX_LINKS:
            raise refusal(entry, f"more than {MAX_LINKS} names of one file")
        return inode

    def _target(self, parent: LayerDirectory, base: bytes, entry: Entry) -> Inode:
        """Find a hard link's target in this layer, or say where it is to be found below."""
        parts = [part for part in entry.link.split(b"/") if part not in (b"", b".")]
        if not parts or b".." in parts or len(entry.link) > MAX_PATH:
            raise refusal(entry, f"a hard link to {printable(entry.link)!r}, which names no file of an image")
        *folders, name = parts
        walk = Walk(self.root, folders, entry)
        missing = walk.step()
        self._count_work(walk, entry)
        if missing is not None:
            return _pending([*walk.names, missing, *reversed(walk.todo), name])
        if walk.trail[-1] is parent and name == base:
            raise refusal(entry, "a hard link to itself")
        found = walk.trail[-1].child(name)
        if isinstance(found, LayerDirectory) and found.required:
            raise refusal(entry, f"a hard link to a directory, {printable(entry.link)!r}")
        return _pending([*walk.names, name]) if found is None or found.kind is Kind.DIRECTORY else found


def _is_inside(path: bytes, directory: bytes) -> bool:
    """Whether a path, by its text, is that of a directory or of something below it."""
    return not directory or path == directory or path.startswith(directory + b"/")


def _normal(name: bytes, entry: Entry) -> tuple[bytes, bytes]:
    """Return parent and last component of a name that ends in a dot or is empty; both empty for the root."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise _climbs(entry)
    return (b"/".join(parts[:-1]), parts[-1]) if parts else (b"", b"")


def _climbs(entry: Entry) -> InvalidError:
    return refusal(entry, "a name with .. in it")


def _check_name(name: bytes, entry: Entry) -> None:
    if len(name) > MAX_NAME:
        raise refusal(entry, f"a name of {len(name)} bytes; at most {MAX_NAME} are possible")


def _pending(parts: list[bytes]) -> Inode:
    """Return an inode for a hard link to a file that is not in this layer."""
    inode = Inode(Kind.HARDLINK)
    inode.link = b"/".join(parts)
    return inode
