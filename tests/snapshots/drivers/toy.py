"""A driver that is no part of the product: whole trees as plain folders, as a stranger would write a first one."""

from collections.abc import Collection, Sequence
from pathlib import Path

from prestow.digest import Digest
from prestow.layers.materialise import materialise
from prestow.snapshots.chain import Chain
from prestow.snapshots.drivers import trial
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.unpacked import Made
from prestow.snapshots.snapshotter import Info


class ToySnapshotter(Driver):
    """Writes each chain ID's tree into a folder, and copies that for a container."""

    driver = "toy"
    copies = True

    @staticmethod
    def attempt(folder: Path) -> None:
        """Write a tree, and use it."""
        data, open_layer = trial.write_tar(folder)
        materialise(trial.trial_tree(), open_layer, folder / "tree", privileged=True)
        trial.use(folder / "tree", data)

    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        if not wanted:
            return []
        (staged / "tree").mkdir(0o700)
        materialise(chain.tree(self._scan), chain.opener(self._content), staged / "tree/fs", privileged=True)
        self._folders.sync()
        return [Made(chain.chain_id, staged / "tree")]

    def _stack(self, line: Sequence[Info]) -> list[Path]:
        return [self._folders.fs(info.id) for info in line[:1]]
