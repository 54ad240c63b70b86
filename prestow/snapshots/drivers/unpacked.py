"""What all drivers share of unpacked images: rows by chain ID, and the files that are made for them.

    commit_layers   rows of all chain IDs, files of those that the top needs; what is there stays
    verify          the files, compared with what the layers mean
    renew           files that are damaged go out of the way, and are made again

Rows of lower chain IDs may have no files yet: those are made when a child first wants them.
"""

import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.layers.scans import Scans
from prestow.layers.tree.inode import Inode
from prestow.metadata.database import Database
from prestow.oci.image import Image
from prestow.snapshots.catalog import Catalog, Change
from prestow.snapshots.chain import Blobs, Chain, Link, Scan
from prestow.snapshots.compare.folder import compare
from prestow.snapshots.damage import Damage
from prestow.snapshots.folders import Folders
from prestow.snapshots.row_file import write_row
from prestow.snapshots.snapshotter import Aside, Info, Kind


@dataclass(frozen=True, slots=True)
class Made:
    """A file or folder that was made for a chain ID, durable but not published.

    Attributes:
        chain_id: whose it is.
        path: where it is now.
        name: what it will be called; None for the number of the row.
    """

    chain_id: Digest
    path: Path
    name: str | None = None


class Unpacked(ABC):
    """The part of a snapshotter that has to do with images."""

    driver: ClassVar[str]
    shows_layers: ClassVar[bool] = False

    def __init__(
        self,
        root: Path,
        database: Database,
        content: Blobs,
        *,
        trash: Path,
        durable: bool = True,
        scan: Scan | None = None,
    ) -> None:
        """Open the driver.

        Args:
            root: folder of all snapshots; this driver's is in it.
            database: the metadata store.
            content: the content store, which has the diff blobs.
            trash: folder for what is being removed, on the file system of ``root``.
            durable: whether a commit waits for the disk; without, a power cut may take committed snapshots.
            scan: gives a layer's tree, for a caller that remembers; without it the tar is read every time.

        Raises:
            StorageError: the folders cannot be made.
        """
        self._catalog = Catalog(database, self.driver)
        self._content = content
        self._folders = Folders(root / self.driver, trash=trash, durable=durable)
        self._scan = scan or Scans(content).tree

    @abstractmethod
    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        """Make the files of some chain IDs of a chain in ``staged``, and wait for the disk."""

    def _has(self, info: Info) -> bool:
        """Whether the files of one chain ID are there."""
        return self._folders.fs(info.id).is_dir()

    def _written(self, lower: Inode | None, tree: Inode) -> Inode:  # noqa: ARG002
        """Return what is written of a tree, which stands on that of the link below, if it is written to a folder."""
        return tree

    def _damage(self, chain: Chain, lower: Inode | None, tree: Inode, progress: Progress | None) -> Iterator[Damage]:
        """Compare the files of a chain's top with its tree, which stands on that of the link below."""
        folder = self._folders.fs(self._catalog.get(chain.chain_id).id)
        yield from compare(self._written(lower, tree), chain.opener(self._content), folder, progress=progress)

    def _needed(self, chain: Chain) -> Sequence[Link]:
        """Return the links of a chain whose files its top needs."""
        return chain.links[-1:]

    def _names(self, info: Info) -> list[str]:
        """Return the names in the driver's folder of all that a row may have on disk."""
        return [str(info.id)]

    def _files(self, info: Info) -> list[Path]:
        return [self._folders.root / name for name in self._names(info)]

    def commit_layers(self, image: Image) -> None:
        """Commit each chain ID of an image on its parent."""
        self._materialise(Chain.of_image(image))

    def _materialise(self, chain: Chain, links: Sequence[Link] | None = None) -> None:
        """Make the files of a chain that are missing, then the rows that are; one process at a time does.

        Who makes the lowest link that is missing makes those above as well, so one lock is enough for all of them.

        Args:
            chain: whose rows are to be there.
            links: of the chain, lowest first and its top among them, whose files are wanted; else those that the top
                needs.
        """
        wanted, made = self._needed(chain) if links is None else links, False
        while not made and (lowest := next(self._missing(wanted), None)) is not None:
            chain.check(self._content)
            with self._folders.committing(lowest):
                missing = [*self._missing(wanted)]
                if missing[:1] == [lowest]:
                    self._make_missing(chain, missing)
                    made = True

    def _make_missing(self, chain: Chain, missing: Collection[Digest]) -> None:
        with self._folders.stage() as staged:
            made = self._make(chain, missing, staged)
            self._write_rows(chain, made)
            with self._catalog.change() as change:
                rows = _rows(change, chain, self._folders.has)
                self._folders.publish(self._unpublished(rows, made))

    def _unpublished(self, rows: Sequence[tuple[Info, bool]], made: Sequence[Made]) -> Iterator[tuple[Path, str]]:
        """Yield what was made, with its names, but for what others made meanwhile: that is in use perhaps."""
        for info, fresh in rows:
            files = [(file.path, file.name or str(info.id)) for file in made if file.chain_id == info.key]
            if files and (fresh or not self._has(info)):
                yield from files

    def _write_rows(self, chain: Chain, made: Sequence[Made]) -> None:
        """Let the folders that were made tell the rows that they will have."""
        line: list[Info] = []
        for link in chain.links:
            parent = line[0].key if line else None
            info = Info(self.driver, link.chain_id, Kind.COMMITTED, parent, 0, time.time(), link.diff_id)
            for file in made:
                if file.chain_id == link.chain_id and file.name is None:
                    write_row(file.path, info, line, durable=self._folders.durable)
            line.insert(0, info)

    def _missing(self, links: Sequence[Link]) -> Iterator[Digest]:
        """Yield the chain IDs of links whose rows or files have to be made."""
        for link in links:
            info = self._catalog.find(link.chain_id)
            if info is None or not self._has(info):
                yield link.chain_id

    def committed(self, chain_id: Digest) -> bool:
        """Whether a chain ID is committed and all its files are there."""
        try:
            line = self._catalog.line(chain_id)
        except NotFoundError:
            return False
        return next(self._missing(self._needed(Chain.of_line(line))), None) is None

    def verify(self, chain_id: Digest, *, progress: Progress | None = None) -> Iterator[Damage]:
        """Compare the files of a chain ID, and of those below it, with what its layers mean."""
        for _, damages in self._compared(chain_id, progress):
            yield from damages

    def renew(self, chain_id: Digest, aside: Aside, *, progress: Progress | None = None) -> list[Digest]:
        """Make damaged files of a chain ID, and of those below it, again; what is sound stays."""
        renewed = []
        for chain, damages in self._compared(chain_id, progress):
            for first in itertools.islice(damages, 1):
                for path in filter(os.path.lexists, self._files(self._catalog.get(chain.chain_id))):
                    aside(path, f"{first.kind} {first.name}: {first.what}")
                self._materialise(chain)
                renewed.append(chain.chain_id)
        self.detach(renewed)
        return renewed

    def built_of(self, diff_ids: Collection[Digest]) -> list[Digest]:
        """Return the chain IDs that have one of these layers in them."""
        rows = [info for info in self._catalog.walk() if info.diff_id is not None]
        chains = [Chain.of_line(self._catalog.line(info.key)) for info in rows]
        return [chain.chain_id for chain in chains if not set(diff_ids).isdisjoint(chain.diff_ids)]

    def having(self, paths: Collection[Path]) -> list[Digest]:
        """Return the chain IDs that have one of these files."""
        parts = {part for path in paths for part in (path, *path.parents)}
        rows = [info for info in self._catalog.walk() if info.diff_id is not None]
        return [Digest(info.key) for info in rows if not parts.isdisjoint(self._files(info))]

    def detach(self, chain_ids: Collection[Digest]) -> None:  # noqa: B027 - most drivers share no mounts
        """Let whoever mounts these chain IDs next see the files there are now; others go on seeing the old ones."""

    def _compared(self, chain_id: Digest, progress: Progress | None) -> Iterator[tuple[Chain, Iterator[Damage]]]:
        """Yield each chain up to a chain ID that has files, or needs them, and how they differ from its tree."""
        chain = Chain.of_line(self._catalog.line(chain_id))
        chain.check(self._content)
        lower: Inode | None = None
        for height, tree in enumerate(chain.trees(self._scan), start=1):
            below = chain.up_to(height)
            needed = chain.links[height - 1] in self._needed(chain)
            if needed or any(map(os.path.lexists, self._files(self._catalog.get(below.chain_id)))):
                yield below, self._damage(below, lower, tree, progress)
            lower = tree


def _rows(change: Change, chain: Chain, taken: Callable[[int], bool]) -> list[tuple[Info, bool]]:
    """Return the rows of a chain, lowest first, and whether they are new; their numbers are none that are ``taken``."""
    rows: list[tuple[Info, bool]] = []
    parent: str | None = None
    for link in chain.links:
        found = change.find(link.chain_id)
        info = found or change.add(link.chain_id, Kind.COMMITTED, parent, diff_id=link.diff_id, taken=taken)
        rows.append((info, found is None))
        parent = link.chain_id
    return rows
