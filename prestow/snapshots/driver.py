"""What all drivers share: the order in which rows and files come and go.

    make       .new-… ──▶ sync ──▶ { row, rename } in one transaction
    remove     { row } ──▶ rename to trash ──▶ delete

A driver says what files a chain of layers needs, makes them, and names the directories that show a committed snapshot.
Rows of lower chain IDs may have no files yet: those are made when a child first wants them.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from prestow.content.disk import sync_folder, translated
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, NotFoundError, PreconditionError
from prestow.layers.node import Node
from prestow.layers.scans import Scans
from prestow.metadata.database import Database
from prestow.oci.image import Image
from prestow.snapshots.catalog import Catalog, Change, check_key, check_parent
from prestow.snapshots.chain import Blobs, Chain, Link, Scan
from prestow.snapshots.descent import measure
from prestow.snapshots.folders import Folders, check_folder
from prestow.snapshots.mount import bound, overlaid
from prestow.snapshots.mountinfo import mounts_below
from prestow.snapshots.remove import empty_trash, remove_tree
from prestow.snapshots.snapshotter import Damage, Info, Kind, Mount, Progress, Usage
from prestow.snapshots.tree_copy import copy_root, copy_tree
from prestow.snapshots.users import shown_read_only, users_of


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


class Driver(ABC):
    """A snapshotter, but for what its committed snapshots consist of."""

    driver: ClassVar[str]
    copies: ClassVar[bool] = False
    """Whether the folder of an active snapshot has everything, rather than what differs from its parent."""

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
    def _has(self, info: Info) -> bool:
        """Whether the files of one chain ID are there."""

    @abstractmethod
    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        """Make the files of some chain IDs of a chain in ``staged``, and wait for the disk."""

    @abstractmethod
    def _damage(self, chain: Chain, lower: Node | None, tree: Node, progress: Progress | None) -> Iterator[Damage]:
        """Compare the files of a chain's top with its tree, which stands on that of the link below."""

    @abstractmethod
    def _stack(self, line: Sequence[Info]) -> list[Path]:
        """Give the directories that show a committed snapshot, nearest first; ``line``: it, then what is below."""

    def _needed(self, chain: Chain) -> Sequence[Link]:
        """Give the links of a chain whose files its top needs."""
        return chain.links[-1:]

    def _files(self, info: Info) -> list[Path]:
        """Give all that a row may have on disk."""
        return [self._folders.root / str(info.id)]

    def _fill(self, folder: Path, line: Sequence[Info]) -> None:
        """Fill the folder of a new active snapshot on the committed one that starts ``line``."""
        (copy_tree if self.copies else copy_root)(self._stack(line)[0], folder)

    def _writable(self, info: Info, stack: Sequence[Path]) -> Mount:
        """Tell how to see an active snapshot."""
        upper, work = self._folders.fs(info.id), self._folders.work(info.id)
        if self.copies or not stack:
            return bound(upper, read_only=False)
        if (work / "work" / "incompat").exists() and not users_of([upper]):
            remove_tree(work)  # left by a mount with "volatile" that a crash ended; the kernel refuses such a folder
        with translated(f"making {work}"):
            work.mkdir(0o700, exist_ok=True)
        return overlaid(stack, upper, work)

    def commit_layers(self, image: Image) -> None:
        """Commit each chain ID of an image on its parent."""
        if not self.committed(image.chain_id):
            self._materialise(Chain.of_image(image))

    def _materialise(self, chain: Chain) -> None:
        """Make the files of a chain that are missing, then the rows that are."""
        chain.check(self._content)
        with self._folders.stage() as staged:
            made = self._make(chain, self._missing(chain), staged)
            with self._catalog.change() as change:
                rows = _rows(change, chain, self._folders.last())
                self._folders.publish(self._unpublished(rows, made))

    def _unpublished(self, rows: Sequence[tuple[Info, bool]], made: Sequence[Made]) -> Iterator[tuple[Path, str]]:
        """Give what was made, with its names, but for what others made meanwhile: that is in use perhaps."""
        for info, fresh in rows:
            files = [(file.path, file.name or str(info.id)) for file in made if file.chain_id == info.key]
            if files and (fresh or not self._has(info)):
                yield from files

    def _missing(self, chain: Chain) -> set[Digest]:
        """Give the chain IDs whose files have to be made for the top of a chain."""
        needed = [(link.chain_id, self._catalog.find(link.chain_id)) for link in self._needed(chain)]
        return {chain_id for chain_id, info in needed if info is None or not self._has(info)}

    def committed(self, chain_id: Digest) -> bool:
        """Whether a chain ID is committed and all its files are there."""
        try:
            line = self._catalog.line(chain_id)
        except NotFoundError:
            return False
        return not self._missing(Chain.of_line(line))

    def verify(self, chain_id: Digest, *, progress: Progress | None = None) -> Iterator[Damage]:
        """Compare the files of a chain ID, and of those below it, with what its layers mean."""
        chain = Chain.of_line(self._catalog.line(chain_id))
        chain.check(self._content)
        lower: Node | None = None
        for height, tree in enumerate(chain.trees(self._scan), start=1):
            below = chain.up_to(height)
            needed = chain.links[height - 1] in self._needed(chain)
            if needed or any(map(os.path.lexists, self._files(self._catalog.get(below.chain_id)))):
                yield from self._damage(below, lower, tree, progress)
            lower = tree

    def stat(self, key: str) -> Info:
        """Tell about one snapshot."""
        return self._catalog.get(key)

    def walk(self) -> Iterator[Info]:
        """List all snapshots, parents before children."""
        yield from self._catalog.walk()

    def usage(self, key: str) -> Usage:
        """Measure what the snapshot itself takes."""
        info = self._catalog.get(key)
        with translated(f"measuring snapshot {key}"):
            found = [measure(path) for path in self._files(info) if path.exists()]
        return Usage(sum(size for size, _ in found), sum(inodes for _, inodes in found))

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make an active snapshot."""
        return self._create(key, parent, Kind.ACTIVE)

    def view(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make a read-only snapshot."""
        return self._create(key, parent, Kind.VIEW)

    def _create(self, key: str, parent: str | None, kind: Kind) -> tuple[Mount, ...]:
        check_key(key)
        if self._catalog.find(key):
            raise AlreadyExistsError(f"snapshot {key} exists already in driver {self.driver}")
        line = self._parents(parent)
        self._ensure(line)
        with self._folders.stage() as staged:
            folder = staged / "new"
            with translated(f"making snapshot {key}"):
                for path in (folder, folder / "fs", folder / "work"):
                    path.mkdir(0o700)
                (folder / "fs").chmod(0o755)
                if kind is Kind.ACTIVE and line:
                    self._fill(folder / "fs", line)
                if self._folders.durable:
                    sync_folder(folder)
            with self._catalog.change() as change:
                info = change.add(key, kind, parent, above=self._folders.last())
                self._folders.publish([(folder, str(info.id))])
        return self.mounts(key)

    def _parents(self, parent: str | None) -> list[Info]:
        if parent is None:
            return []
        line = self._catalog.line(parent)
        check_parent(line[0])
        return line

    def _ensure(self, line: Sequence[Info]) -> list[Path]:
        """See to it that a committed snapshot's files are there, and give the directories that show it."""
        written = [info for info in line if info.diff_id is None]
        for info in written:
            check_folder(self._folders.fs(info.id))
        if len(written) < len(line):
            chain = Chain.of_line(line)
            if self._missing(chain):
                self._materialise(chain)
        return self._stack(line)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Tell what to mount to see a snapshot."""
        info = self._catalog.get(key)
        if info.kind is Kind.COMMITTED:
            raise PreconditionError(f"snapshot {key} is committed, never mounted itself: view it, or prepare one on it")
        stack = self._ensure(self._parents(info.parent))
        own = check_folder(self._folders.fs(info.id))
        if info.kind is Kind.ACTIVE:
            return (self._writable(info, stack),)
        return (overlaid(stack) if len(stack) > 1 else bound(stack[0] if stack else own, read_only=True),)

    def commit(self, name: str, key: str) -> None:
        """Make an active snapshot a committed one."""
        check_key(name)
        info = self._catalog.get(key)
        self._refuse_mounted(info)
        self._folders.sync()
        with self._catalog.change() as change:
            change.commit(name, key)
        remove_tree(self._folders.work(info.id))

    def remove(self, key: str) -> None:
        """Remove a snapshot, the row first."""
        self._refuse_mounted(self._catalog.get(key))
        with self._catalog.change() as change:
            info = change.remove(key)
        self._clear(lambda known: [path for path in self._files(info) if path.name not in known])

    def _clear(self, choose: Callable[[set[str]], list[Path]]) -> None:
        """Remove what ``choose`` picks, told the names that rows have now: others may have taken the same one."""
        with self._catalog.change() as change:
            known = {path.name for info in change.walk() for path in self._files(info)}
            graves = [self._folders.bury(path) for path in choose(known)]
        for grave in graves:
            if grave:
                remove_tree(grave)

    def _refuse_mounted(self, info: Info) -> None:
        """Refuse to change what somebody sees through a mount."""
        users = users_of(self._files(info))
        if info.kind is Kind.VIEW and info.parent:
            # A mounted view cannot be told from its siblings, which show the same directories.
            views = [other for other in self._catalog.walk() if other.kind is Kind.VIEW and other.parent == info.parent]
            users += shown_read_only(self._stack(self._parents(info.parent)))[len(views) - 1 :]
        if users:
            raise PreconditionError(f"snapshot {info.key} is mounted at {users[0].path}; unmount it first")

    def cleanup(self) -> None:
        """Put the disk in order after crashes."""
        self._clear(lambda known: [path for path in self._folders.strays(known) if not _in_use(path)])
        empty_trash(self._folders.trash)


def _in_use(path: Path) -> bool:
    return bool(mounts_below(path) or users_of([path]))


def _rows(change: Change, chain: Chain, above: int) -> list[tuple[Info, bool]]:
    """Give the rows of a chain, lowest first, and whether they are new; their numbers are greater than ``above``."""
    rows: list[tuple[Info, bool]] = []
    parent: str | None = None
    for link in chain.links:
        found = change.find(link.chain_id)
        info = found or change.add(link.chain_id, Kind.COMMITTED, parent, diff_id=link.diff_id, above=above)
        rows.append((info, found is None))
        parent = link.chain_id
    return rows
