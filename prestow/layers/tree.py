"""Trees: what a layer means, and what layers mean on each other; the one door to the model.

    entries ──layer_tree──▶ LayerTree ──merge──▶ Node (root of an image) ──walk──▶ paths
                                │  ▲                      ▲
                                └──┘ compose              └ what the layers below merged to

Everything here is pure: no file is touched, no path is ever a kernel's to resolve.
"""

from prestow.layers.layer_directory import LayerDirectory, LayerTree
from prestow.layers.layer_tree import layer_tree
from prestow.layers.merge import compose, merge
from prestow.layers.node import Node, walk

__all__ = ["LayerDirectory", "LayerTree", "Node", "compose", "layer_tree", "merge", "walk"]
