"""What a layer says of its directories beyond what is in them: the values that merging works on."""

from dataclasses import dataclass

from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode

_NONE: frozenset[bytes] = frozenset()


class LayerDirectory(Inode):
    """A directory of a layer's tree, with what it does to the layers below.

    Attributes:
        children: name → inode, as of every directory.
        implicit: no entry names it; where the layers below have the directory, theirs are its attributes.
        required: it exists even where the layers below have no such directory; otherwise it only carries whiteouts.
        opaque: hides everything that the layers below have in it.
        whiteouts: names that it hides.
    """

    __slots__ = ("implicit", "opaque", "required", "whiteouts")

    children: dict[bytes, Inode]

    def __init__(self) -> None:
        """Make an implicit directory, empty."""
        super().__init__(Kind.DIRECTORY)
        self.implicit = True
        self.required = False
        self.opaque = False
        self.whiteouts: frozenset[bytes] | set[bytes] = _NONE

    def hide(self, name: bytes) -> None:
        """Add a whiteout."""
        if isinstance(self.whiteouts, frozenset):
            self.whiteouts = set(self.whiteouts)
        self.whiteouts.add(name)


@dataclass(frozen=True, slots=True)
class LayerTree:
    """What one layer, or several as one, adds to the layers below and takes from them.

    Attributes:
        root: its directories are all :class:`LayerDirectory`.
        dropped: extended attributes that an image may not set, by name, with the number of files that had them.
    """

    root: LayerDirectory
    dropped: tuple[tuple[str, int], ...] = ()
