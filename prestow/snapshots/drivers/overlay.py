"""The overlay driver: each layer a folder, stacked by overlayfs. For root, where the kernel is too old for erofs.

    overlay/<id>/fs          what a layer changes, as overlayfs wants it told; or what a container wrote
    overlay/<id>/work        overlayfs's own

What a layer changes depends on what is below it, so a folder belongs to a chain ID. It is computed from the two trees
(:mod:`.overlay_layer`), so the folders do not depend on each other and are made at the same time.
"""

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path

from prestow.content.disk import translated
from prestow.digest import Digest
from prestow.layers.materialise import materialise
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.snapshots.chain import Chain, Link
from prestow.snapshots.drivers import trial
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.overlay_layer import difference
from prestow.snapshots.drivers.unpacked import Made
from prestow.snapshots.snapshotter import Info

_WORKERS = 4


class OverlaySnapshotter(Driver):
    """Implements :class:`prestow.snapshots.snapshotter.Snapshotter` with a folder a layer."""

    driver = "overlay"

    @staticmethod
    def attempt(folder: Path) -> None:
        """Mount an overlay, one of whose layers replaces a folder of the other."""
        trial.need_root()
        data, open_layer = trial.write_tar(folder)
        below, merged = trial.trial_tree(), trial.trial_tree()
        assert below.children is not None  # noqa: S101 - it is a folder
        below.children[b"folder"].children = {b"hidden": Inode(Kind.FIFO)}
        for name, tree in (("below", below), ("lower", difference(below, merged))):
            materialise(tree, open_layer, folder / name, privileged=True)
        trial.use_overlaid(folder, [folder / "lower", folder / "below"], data)

    def _needed(self, chain: Chain) -> Sequence[Link]:
        return chain.links

    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        trees = [None, *chain.trees(self._scan)]

        def make(chain_id: Digest, lower: Inode | None, merged: Inode) -> Made:
            folder = staged / chain_id.encoded
            with translated(f"making {folder}"):
                folder.mkdir(0o700)
            written, open_layer = self._written(lower, merged), chain.opener(self._content)
            materialise(written, open_layer, folder / "fs", privileged=os.geteuid() == 0)
            return Made(chain_id, folder)

        with ThreadPoolExecutor(_WORKERS) as workers:
            made = [
                workers.submit(copy_context().run, make, link.chain_id, lower, merged)
                for link, (lower, merged) in zip(chain.links, pairwise(trees), strict=False)
                if link.chain_id in wanted and merged is not None
            ]
            results = [future.result() for future in made]
        self._folders.sync()
        return results

    def _written(self, lower: Inode | None, tree: Inode) -> Inode:
        return difference(lower, tree)

    def _stack(self, line: Sequence[Info]) -> list[Path]:
        return [self._folders.fs(info.id) for info in line]
