"""Hard links: the inodes of a tree that have more than one name."""

from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode


def link_counts(root: Inode) -> dict[Inode, int]:
    """Return the number of names of each file that has several; all others have one."""
    seen: set[Inode] = set()
    counts: dict[Inode, int] = {}
    directory = Kind.DIRECTORY
    pending = [root]
    while pending:
        for inode in pending.pop().loose.values():  # a packed file has one name
            if inode.kind is directory:
                pending.append(inode)
            elif inode in seen:
                counts[inode] = counts.get(inode, 1) + 1
            else:
                seen.add(inode)
    return counts
