"""What all drivers share: the order in which rows and files come and go.

    make       .new/… ──▶ sync ──▶ { row, rename } in one transaction
    remove     { row } ──▶ rename to trash ──▶ delete

A driver says what files a chain of layers needs, makes them (see :mod:`.unpacked`), and names the directories that show
a committed snapshot.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from prestow.content.disk import translated
from prestow.errors import AlreadyExistsError, PreconditionError
from prestow.snapshots.catalog import Change, check_key, check_parent
from prestow.snapshots.chain import Chain
from prestow.snapshots.directory_walk import measure
from prestow.snapshots.drivers.unpacked import Unpacked
from prestow.snapshots.folders import check_folder
from prestow.snapshots.mounts.mount import bound, overlaid
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.snapshots.mounts.users import shown_read_only, users_of
from prestow.snapshots.remove import empty_trash, remove_tree
from prestow.snapshots.row_file import tells, write_row
from prestow.snapshots.snapshotter import Info, Kind, Mount, Usage
from prestow.snapshots.tree_copy import copy_root, copy_tree


class Driver(Unpacked):
    """A snapshotter, but for what its committed snapshots consist of."""

    copies: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def attempt(folder: Path) -> None:
        """Do in an empty folder what the driver does for containers, as :mod:`.trial` helps to; raise if it fails."""

    @abstractmethod
    def _stack(self, line: Sequence[Info]) -> list[Path]:
        """Return the directories that show a committed snapshot, nearest first; ``line``: it, then what is below."""

    def _fill(self, folder: Path, line: Sequence[Info]) -> None:
        """Fill the folder of a new active snapshot on the committed one that starts ``line``."""
        (copy_tree if self.copies else copy_root)(self._stack(line)[0], folder)

    def _writable(self, info: Info, stack: Sequence[Path]) -> Mount:
        """Return how to see an active snapshot."""
        upper, work = self._folders.fs(info.id), self._folders.work(info.id)
        if self.copies or not stack:
            return bound(upper, read_only=False)
        if (work / "work" / "incompat").exists() and not users_of([upper]):
            remove_tree(work)  # left by a mount with "volatile" that a crash ended; the kernel refuses such a folder
        with translated(f"making {work}"):
            work.mkdir(0o700, exist_ok=True)
        return overlaid(stack, upper, work)

    def stat(self, key: str) -> Info:
        """Return what is known of one snapshot."""
        return self._catalog.get(key)

    def walk(self) -> Iterator[Info]:
        """List all snapshots, parents before children."""
        yield from self._catalog.walk()

    def usage(self, key: str) -> Usage:
        """Measure what the snapshot itself takes."""
        info = self._catalog.get(key)
        with translated(f"measuring snapshot {key}"):
            found = [measure(path) for path in self._files(info)]
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
            row = Info(self.driver, key, kind, parent, 0, time.time())
            write_row(folder, row, line, durable=self._folders.durable)
            with self._catalog.change() as change:
                info = change.add(key, kind, parent, taken=self._folders.has)
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
            self._materialise(Chain.of_line(line))
        return self._stack(line)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Return what to mount to see a snapshot."""
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
            committed, *line = self._catalog.line(name)
            write_row(self._folders.root / str(info.id), committed, line, durable=self._folders.durable)
        remove_tree(self._folders.work(info.id))

    def remove(self, key: str) -> None:
        """Remove a snapshot, the row first."""
        self._refuse_mounted(self._catalog.get(key))
        with self._folders.underway():
            with self._catalog.change() as change:
                info = change.remove(key)
            self._clear(
                lambda change: change.like(info), lambda known: [p for p in self._files(info) if p.name not in known]
            )

    def _clear(self, rows: Callable[[Change], Iterable[Info]], choose: Callable[[set[str]], list[Path]]) -> None:
        """Remove what ``choose`` picks, told the names that rows have now: others may have taken the same one."""
        with self._catalog.change() as change:
            known = {name for info in rows(change) for name in self._names(info)}
            graves = [self._folders.bury(path) for path in choose(known)]
        for grave in graves:
            if grave:
                remove_tree(grave)

    def refuse_mounted(self, key: str) -> None:
        """Fail as ``remove`` would, if the snapshot is mounted."""
        self._refuse_mounted(self._catalog.get(key))

    def _refuse_mounted(self, info: Info) -> None:
        """Refuse to change what a mount shows."""
        users = users_of(self._files(info))
        if info.kind is Kind.VIEW and info.parent:
            # A mounted view cannot be told from its siblings, which show the same directories.
            views = self._catalog.views(info.parent)
            users += shown_read_only(self._stack(self._parents(info.parent)))[views - 1 :]
        if users:
            raise PreconditionError(f"snapshot {info.key} is mounted at {users[0].path}; unmount it first")

    def seems_untidy(self, *, whole: bool = False) -> bool:
        """Whether crashes may have left something."""
        if not (whole or self._folders.seem_touched()):
            return False
        known = {name for info in self._catalog.walk() for name in self._names(info)}
        if self._folders.seem_untidy(known):
            return True
        self._folders.looked()
        return False

    def strays(self) -> list[Path]:
        """List what no row names."""
        with self._catalog.change() as change:
            known = {name for info in change.walk() for name in self._names(info)}
            return [path for path in self._folders.strays(known) if not self._folders.is_new(path)]

    def lost(self, info: Info) -> bool:
        """Whether the folder of a snapshot that is not of an image is gone."""
        return info.diff_id is None and not self._folders.fs(info.id).is_dir()

    def without_row_file(self) -> list[Path]:
        """Return the folders whose row file is missing or wrong."""
        folders = [(self._folders.root / str(info.id), info) for info in self._catalog.walk()]
        there = [(folder, self._catalog.line(info.key)) for folder, info in folders if folder.is_dir()]
        return [folder for folder, (info, *below) in there if not tells(folder, info, below)]

    def write_row_file(self, folder: Path) -> None:
        """Write the row file of a folder again."""
        with self._catalog.change() as change:
            for info in [info for info in change.walk() if str(info.id) == folder.name]:
                write_row(folder, info, self._catalog.line(info.key)[1:], durable=self._folders.durable)

    def cleanup(self) -> None:
        """Put the disk in order after crashes, unless the rows are damaged, which then do not tell what is rubbish."""
        self._catalog.require_sound()
        self._clear(Change.walk, lambda known: [path for path in self._folders.strays(known) if not _in_use(path)])
        empty_trash(self._folders.trash)
        Driver.seems_untidy(self, whole=True)  # which notes it if not; what is in use waits


def _in_use(path: Path) -> bool:
    return bool(mounts_below(path) or users_of([path]))
