"""The native driver: merged trees as plain folders, copied for each container. Works everywhere, also without root.

    native/<id>/fs     the whole tree of a chain ID, or of a container

Every file of an image is written once, in its final state. An ordinary user owns all of it; a container that runs as
that user sees itself as the owner.
"""

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from prestow.content.disk import translated
from prestow.digest import Digest
from prestow.layers.materialise import materialise
from prestow.snapshots.chain import Chain
from prestow.snapshots.drivers import trial
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.unpacked import Made
from prestow.snapshots.snapshotter import Info
from prestow.snapshots.tree_copy import copy_tree

_log = logging.getLogger(__name__)


class NativeSnapshotter(Driver):
    """Implements :class:`prestow.snapshots.snapshotter.Snapshotter` with copies."""

    driver = "native"
    copies = True

    @staticmethod
    def attempt(folder: Path) -> None:
        """Copy a folder."""
        data, open_layer = trial.write_tar(folder)
        materialise(trial.trial_tree(), open_layer, folder / "lower", privileged=os.geteuid() == 0)
        (folder / "mnt").mkdir()
        copy_tree(folder / "lower", folder / "mnt")
        trial.use(folder / "mnt", data)

    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        if not wanted:
            return []
        folder = staged / "tree"
        with translated(f"making {folder}"):
            folder.mkdir(0o700)
        self._materialise_tree(chain, folder / "fs")
        self._folders.sync()
        return [Made(chain.chain_id, folder)]

    def _materialise_tree(self, chain: Chain, target: Path) -> None:
        tree, open_layer = chain.tree(self._scan), chain.opener(self._content)
        result = materialise(tree, open_layer, target, privileged=os.geteuid() == 0)
        if result.unowned or result.devices or result.xattrs:
            _log.warning(
                "snapshot %s: %s: %d files have another owner than in the image, "
                "%d devices and %d extended attributes are left out",
                chain.chain_id.short,
                "unpacked without root" if os.geteuid() else "the file system has no extended attributes",
                result.unowned, result.devices, result.xattrs,
            )  # fmt: skip

    def _stack(self, line: Sequence[Info]) -> list[Path]:
        return [self._folders.fs(info.id) for info in line[:1]]

    def _fill(self, folder: Path, line: Sequence[Info]) -> None:
        if os.geteuid() and line[0].diff_id:
            # The owner of a file that is closed to himself, such as /etc/shadow, cannot copy it, but make it again.
            folder.rmdir()
            self._materialise_tree(Chain.of_line(line), folder)
        else:
            super()._fill(folder, line)
