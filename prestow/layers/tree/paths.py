"""Resolving a name inside the tree of a layer, as if its root were the root of the world."""

from collections.abc import Iterable

from prestow.errors import InvalidError, printable
from prestow.layers.tar.entry import Entry, Kind
from prestow.layers.tree.directory import LayerDirectory

MAX_HOPS = 40
"""Symlinks on the way to one name, as many as the kernel follows."""


def refusal(entry: Entry, reason: str) -> InvalidError:
    """Return the error for an entry that makes no sense."""
    return InvalidError(f"layer, entry {printable(entry.name)!r} at byte {entry.offset}: {reason}")


class Walk:
    """A way through the tree: stops at each component that is missing, and goes on when told what is there.

    Attributes:
        trail: directories from the root to where the way has come.
        names: their names, without the root.
        todo: components still to go, the next one last.
        followed: bytes of the symlinks on the way, a measure of the work.
    """

    __slots__ = ("_entry", "_hops", "followed", "names", "todo", "trail")

    def __init__(self, root: LayerDirectory, path: Iterable[bytes], entry: Entry) -> None:
        """Stand at the root; ``entry`` is whose name is being resolved."""
        self.trail = [root]
        self.names: list[bytes] = []
        self.todo = list(path)[::-1]
        self.followed = 0
        self._entry = entry
        self._hops = 0

    def step(self) -> bytes | None:
        """Go on to the next component that is missing, and give its name; None when all of the path is behind.

        Raises:
            InvalidError: a component is neither a directory nor a symlink, or there are too many symlinks.
        """
        while self.todo:
            name = self.todo.pop()
            if name == b"..":
                if self.names:
                    self.trail.pop()
                    self.names.pop()
            elif name not in (b"", b"."):
                child = self.trail[-1].child(name)
                if child is None:
                    return name
                if isinstance(child, LayerDirectory):
                    self.enter(name, child)
                elif child.kind is Kind.SYMLINK:
                    self._follow(name, child.link)
                else:
                    raise refusal(self._entry, f"its parent {printable(name)!r} is not a directory")
        return None

    def enter(self, name: bytes, directory: LayerDirectory) -> None:
        """Go into a directory of the last one."""
        self.trail.append(directory)
        self.names.append(name)

    def _follow(self, name: bytes, target: bytes) -> None:
        self._hops += 1
        if self._hops > MAX_HOPS:
            raise refusal(self._entry, f"too many symlinks on the way, the last of them {printable(name)!r}")
        self.followed += len(target)
        if target.startswith(b"/"):
            del self.trail[1:]
            self.names.clear()
        self.todo.extend(target.split(b"/")[::-1])
