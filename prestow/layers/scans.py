"""Trees of layers that this process has scanned, kept until the image is put together.

Scanning a layer's tar is the one part of unpacking that costs Python time for every entry. A layer that was scanned
when it was decompressed need not be scanned again by the step that merges it, if both run in one process; if not, it
is. A tree is only kept under a diff ID that the scanned bytes were proven to have.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from prestow.digest import Digest
from prestow.layers.layer_directory import LayerTree


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan of a layer's tar gave.

    Attributes:
        tree: what the layer means.
        size: bytes of the tar.
        entries: members of the tar.
    """

    tree: LayerTree
    size: int
    entries: int


class Scans:
    """The latest scans, at most ``most_entries`` in all; safe to use from several threads."""

    def __init__(self, most_entries: int = 250_000) -> None:
        """Keep nothing yet."""
        self._most = most_entries
        self._kept: OrderedDict[tuple[Digest, int], Scanned] = OrderedDict()
        self._entries = 0
        self._lock = threading.Lock()

    def keep(self, diff_id: Digest, index: int, scanned: Scanned) -> None:
        """Keep the scan of the layer at ``index`` of an image; the oldest ones go to make room."""
        with self._lock:
            self._drop((diff_id, index))
            self._kept[diff_id, index] = scanned
            self._entries += scanned.entries
            while self._entries > self._most:
                self._drop(next(iter(self._kept)))

    def get(self, diff_id: Digest, index: int) -> Scanned | None:
        """Give a scan, if it is kept."""
        with self._lock:
            return self._kept.get((diff_id, index))

    def _drop(self, key: tuple[Digest, int]) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._entries -= gone.entries
