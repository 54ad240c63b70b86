"""Extended attributes that an image may set.

user.*        on files and directories, the only ones that can have them
trusted.*     but trusted.overlay.* and user.overlay.*: they would make overlayfs show other directories' files
security.*    but selinux, ima and evm, which are the host's to say
system.*      only POSIX access control lists, and not on symlinks

All others are dropped and counted, none silently.
"""

from collections import Counter

from prestow.errors import InvalidError, printable
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Xattrs
from prestow.layers.tree.xattrs import ACL_ACCESS, ACL_DEFAULT, check

MAX_NAMES = 65_536
"""Bytes of all names of one file, each with its zero byte: what listxattr(2) can give."""

_USER, _TRUSTED, _SECURITY = b"user.", b"trusted.", b"security."
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_OF_THE_HOST = (b"security.selinux", b"security.ima", b"security.evm")
_MOST_REMEMBERED = 1024


class XattrFilter:
    """Filters the attributes of a layer's files; equal sets become one object, since most files have the same."""

    def __init__(self) -> None:
        """Start with nothing dropped."""
        self._known: dict[tuple[Kind, Xattrs], Xattrs] = {}
        self._dropped: Counter[str] = Counter()

    def allowed(self, kind: Kind, xattrs: Xattrs) -> Xattrs:
        """Return those that a file of this kind may have.

        Raises:
            InvalidError: no file can have them: malformed, too long, too many.
        """
        kept = self._known.get((kind, xattrs))
        if kept is not None:
            self._count(xattrs, kept)
            return kept
        kept = tuple(pair for pair in xattrs if _may_set(kind, pair[0]))
        for name, value in kept:
            check(kind, name, value)
        if sum(len(name) + 1 for name, _ in kept) > MAX_NAMES:
            raise InvalidError(f"{len(kept)} extended attributes; their names pass {MAX_NAMES} bytes")
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[kind, xattrs] = kept
        self._count(xattrs, kept)
        return kept

    def dropped(self) -> tuple[tuple[str, int], ...]:
        """Return the names that were dropped, printable, each with how often; beyond a thousand names as "others"."""
        return tuple(sorted(self._dropped.items()))

    def _count(self, xattrs: Xattrs, kept: Xattrs) -> None:
        if len(kept) == len(xattrs):
            return
        stays = {name for name, _ in kept}
        for name, _ in xattrs:
            if name not in stays:
                label = printable(name)
                full = label not in self._dropped and len(self._dropped) >= _MOST_REMEMBERED
                self._dropped["others" if full else label] += 1


def _may_set(kind: Kind, name: bytes) -> bool:
    if name.startswith(_OVERLAY) or name in _OF_THE_HOST:
        return False
    if name.startswith(_USER):
        return kind in (Kind.REGULAR, Kind.DIRECTORY)
    if name in (ACL_ACCESS, ACL_DEFAULT):
        return kind is not Kind.SYMLINK
    return name.startswith((_TRUSTED, _SECURITY))
