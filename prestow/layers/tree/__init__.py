"""Trees: what a layer means, and what layers mean on each other; the one door to the model.

    entries ──layer_tree──▶ LayerTree ──merge──▶ Inode (root of an image) ──walk──▶ paths
                                │  ▲                      ▲
                                └──┘ compose              └ what the layers below merged to

Everything here is pure: no file is touched, no path is ever a kernel's to resolve.
"""

from prestow.layers.tree.build import layer_tree
from prestow.layers.tree.directory import LayerDirectory, LayerTree
from prestow.layers.tree.inode import Inode, walk
from prestow.layers.tree.merge import compose, merge

__all__ = ["Inode", "LayerDirectory", "LayerTree", "compose", "layer_tree", "merge", "walk"]
