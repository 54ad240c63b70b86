"""What recovery, garbage collection and fsck need of a snapshotter, beyond its use."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from prestow.digest import Digest
from prestow.snapshots.snapshotter import Info, Snapshotter


class Maintained(Snapshotter, Protocol):
    """A snapshotter whose files on disk can be looked through and put in order."""

    @property
    def copies(self) -> bool:
        """Whether the folder of an active snapshot has everything, rather than what differs from its parent."""

    @property
    def shows_layers(self) -> bool:
        """Whether a mount reads the diff blobs themselves, rather than files made of them."""

    def refuse_mounted(self, key: str) -> None:
        """Fail as ``remove`` would, if the snapshot is mounted."""

    def seems_untidy(self, *, whole: bool = False) -> bool:
        """Whether crashes may have left something; only a look, which waits for no lock.

        Args:
            whole: whether to look at all there is, and not only at what was underway in this boot.
        """

    def cleanup(self) -> None:
        """Put the disk in order after crashes, unless the rows are damaged, which then do not tell what is rubbish."""

    def strays(self) -> list[Path]:
        """List what no row names, in use or not; without what is being made."""

    def lost(self, info: Info) -> bool:
        """Whether the folder of a snapshot that is not of an image is gone, with all that was written into it."""

    def without_row_file(self) -> list[Path]:
        """Return the folders whose row file, which tells the row should the database be lost, is missing or wrong."""

    def write_row_file(self, folder: Path) -> None:
        """Write the row file of a folder again; nothing if no row names the folder any more."""

    def built_of(self, diff_ids: Collection[Digest]) -> list[Digest]:
        """Return the chain IDs that have one of these layers in them."""

    def having(self, paths: Collection[Path]) -> list[Digest]:
        """Return the chain IDs that have one of these files, themselves or in their folders."""

    def detach(self, chain_ids: Collection[Digest]) -> None:
        """Let whoever mounts these chain IDs next see the files there are now; others go on seeing the old ones."""
