"""Uncompressed tars of layers, open from their first use on: an image may have more than a process may open."""

import os
from collections.abc import Callable

_MOST = 64  # descriptors that are kept open


class OpenTars:
    """The tars that were used last."""

    def __init__(self, open_layer: Callable[[int], int]) -> None:
        """Use ``open_layer``, which gives a descriptor of a layer's tar by the layer's index."""
        self._open = open_layer
        self._descriptors: dict[int, int] = {}

    def descriptor(self, index: int) -> int:
        """Return a descriptor of a layer's tar; it is valid until the next call."""
        if index not in self._descriptors:
            if len(self._descriptors) == _MOST:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[index] = self._open(index)
        return self._descriptors[index]

    def close(self) -> None:
        """Close what was opened."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
