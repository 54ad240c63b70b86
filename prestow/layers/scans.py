"""Trees of layers that this process has scanned, kept until the image is put together.

Scanning a layer's tar is the one part of unpacking that costs Python time for every entry. A layer that was scanned
when it was decompressed need not be scanned again by the step that merges it, if both run in one process; if not, it
is. The latest tree is kept however large it is, or the steps behind would scan a large layer twice more. A tree is only
kept under a diff ID that the scanned bytes were proven to have.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from prestow.content.store import Provider
from prestow.digest import Digest
from prestow.layers.limits import Budget, Limits
from prestow.layers.tar.reader import Entry, Source, entries
from prestow.layers.tree.build import layer_tree
from prestow.layers.tree.directory import LayerTree
from prestow.layers.tree.packed import loose_inodes

_MOST_INODES = 500_000  # of 220 bytes; kept by all trees but the latest
_PACKED = 5  # packed files take as much as an inode


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan of a layer's tar gave.

    Attributes:
        tree: what the layer means.
        entries: members of the tar.
        inodes: what the tree takes of memory, as a number of inodes.
    """

    tree: LayerTree
    entries: int
    inodes: int


def scan(source: Source, index: int, limits: Limits) -> Scanned:
    """Read a tar as the layer at ``index`` of an image.

    Raises:
        InvalidError: it is no tar, or an entry makes no sense.
        ExhaustedError: a limit was passed.
    """
    counted = _Counted(entries(source, limits=limits))
    tree = layer_tree(counted, index, limits=limits)
    loose = sum(1 for _ in loose_inodes(tree.root))
    return Scanned(tree, counted.count, loose + max(0, counted.count - loose) // _PACKED)


class Scans:
    """Scans of diff blobs, the latest of them kept; safe to use from several threads."""

    def __init__(self, content: Provider, limits: Limits | None = None) -> None:
        """Keep nothing yet.

        Args:
            content: where the diff blobs are.
            limits: what a layer may be; those that it was applied with.
        """
        self.limits = limits or Limits()
        self._content = content
        self._kept: OrderedDict[tuple[Digest, int], Scanned] = OrderedDict()
        self._inodes = 0
        self._budgets: dict[Digest, Budget] = {}
        self._lock = threading.Lock()

    def share(self, diff_ids: Iterable[Digest], budget: Budget) -> None:
        """Let layers that are to be decompressed share what their image may come to."""
        with self._lock:
            self._budgets.update(dict.fromkeys(diff_ids, budget))

    def limits_of(self, diff_id: Digest) -> Limits:
        """Return the limits under which a layer is decompressed."""
        with self._lock:
            budget = self._budgets.get(diff_id)
        return self.limits if budget is None else replace(self.limits, together=partial(budget.spend, diff_id))

    def get(self, diff_id: Digest, index: int) -> Scanned:
        """Return the scan of a diff blob as the layer at ``index`` of an image; one that is not kept is made.

        Raises:
            NotFoundError: it is not here; apply its layer first.
            InvalidError: it is no tar, or an entry makes no sense.
        """
        with self._lock:
            kept = self._kept.get((diff_id, index))
        if kept is None:
            with self._content.open(diff_id) as file:
                kept = scan(file, index, self.limits)
            self.keep(diff_id, index, kept)
        return kept

    def tree(self, diff_id: Digest, index: int) -> LayerTree:
        """Return the tree of a diff blob; raises as ``get``."""
        return self.get(diff_id, index).tree

    def keep(self, diff_id: Digest, index: int, scanned: Scanned) -> None:
        """Keep a scan; the oldest ones go to make room."""
        with self._lock:
            self._drop((diff_id, index))
            self._kept[diff_id, index] = scanned
            self._budgets.pop(diff_id, None)
            self._inodes += scanned.inodes
            while self._inodes > _MOST_INODES and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[Digest, int]) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._inodes -= gone.inodes


class _Counted:
    """Iterates and counts."""

    def __init__(self, source: Iterator[Entry]) -> None:
        self._source = source
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._source:
            self.count += 1
            yield entry
