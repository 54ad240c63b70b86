"""The tree of a layer and of an image (being written)."""

from prestow.layers.node import Node, walk

__all__ = ["Node", "walk"]
