"""Chains: what stands under a chain ID, layer by layer, and the trees that the layers merge to."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from prestow.cancellation import check
from prestow.content.store import Provider
from prestow.digest import Digest
from prestow.errors import PreconditionError
from prestow.layers.tree import LayerTree, merge
from prestow.layers.tree.inode import Inode
from prestow.oci.image import Image
from prestow.snapshots.snapshotter import Info

Scan: TypeAlias = Callable[[Digest, int], LayerTree]
"""Gives the tree of a layer, by its diff ID and its index."""


class Blobs(Provider, Protocol):
    """What snapshotters need of a content store: diff blobs as files."""

    def open_fd(self, digest: Digest) -> int:
        """Open a blob as a descriptor, which the caller closes."""

    def path(self, digest: Digest) -> Path:
        """Return the file name of a blob."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether a blob is here."""


@dataclass(frozen=True, slots=True)
class Link:
    """One layer on those below it."""

    chain_id: Digest
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers on each other, lowest first; at least one."""

    links: tuple[Link, ...]

    @classmethod
    def of_image(cls, image: Image) -> "Chain":
        """Return the chain of an image."""
        return cls(tuple(Link(layer.chain_id, layer.diff_id) for layer in image.layers))

    @classmethod
    def of_line(cls, line: Sequence[Info]) -> "Chain":
        """Return the chain of committed rows that came from an image, the nearest first."""
        return cls(tuple(Link(Digest(info.key), info.diff_id) for info in reversed(line) if info.diff_id is not None))

    def up_to(self, height: int) -> "Chain":
        """Return the lowest ``height`` links."""
        return Chain(self.links[:height])

    @property
    def chain_id(self) -> Digest:
        """Name of the whole."""
        return self.links[-1].chain_id

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Diff IDs of the layers."""
        return tuple(link.diff_id for link in self.links)

    def check(self, content: Blobs) -> None:
        """Refuse if a layer is not there.

        Raises:
            PreconditionError: a diff blob is not in the content store.
        """
        if missing := [diff_id for diff_id in self.diff_ids if not content.has(diff_id)]:
            raise PreconditionError(
                f"snapshot {self.chain_id.short}: {len(missing)} of its {len(self.links)} layers are missing in the "
                f"content store, such as {missing[0].short}; pull the image again"
            )

    def opener(self, content: Blobs) -> Callable[[int], int]:
        """Return what opens a layer's diff blob, by the layer's index."""
        return lambda layer: content.open_fd(self.diff_ids[layer])

    def trees(self, scan: Scan) -> Iterator[Inode]:
        """Yield the merged tree after each layer; they share what a layer leaves alone.

        Raises:
            InvalidError: the layers do not make a tree.
            CancelledError: the work that this is part of is to end.
        """
        tree: Inode | None = None
        for index, diff_id in enumerate(self.diff_ids):
            check()
            tree = merge(tree, scan(diff_id, index))
            yield tree

    def tree(self, scan: Scan) -> Inode:
        """Return the merged tree of the whole; raises as ``trees``."""
        return deque(self.trees(scan), maxlen=1).pop()
