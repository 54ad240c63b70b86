"""Hard links: the nodes of a tree that have more than one name."""

from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Node


def link_counts(root: Node) -> dict[Node, int]:
    """Return the number of names of each file that has several; all others have one."""
    seen: set[Node] = set()
    counts: dict[Node, int] = {}
    directory = Kind.DIRECTORY
    pending = [root]
    while pending:
        for node in pending.pop().loose.values():  # a packed file has one name
            if node.kind is directory:
                pending.append(node)
            elif node in seen:
                counts[node] = counts.get(node, 1) + 1
            else:
                seen.add(node)
    return counts
