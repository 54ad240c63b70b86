"""Hard links: the nodes of a tree that have more than one name."""

from prestow.layers.entry import Kind
from prestow.layers.node import Node
from prestow.layers.packed import loose_nodes


def link_counts(root: Node) -> dict[Node, int]:
    """Give the number of names of each file that has several; all others have one."""
    seen: set[Node] = set()
    counts: dict[Node, int] = {}
    for node in loose_nodes(root):
        if node.kind is not Kind.DIRECTORY:
            if node in seen:
                counts[node] = counts.get(node, 1) + 1
            else:
                seen.add(node)
    return counts
