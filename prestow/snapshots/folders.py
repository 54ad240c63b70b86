"""A driver's folder on disk.

::

    <driver>/                 0700
      .lock                   permanent; held while shared mounts are made or taken down
      .locks/<hex digits>     permanent; held while the files of a chain ID are made whose name starts with these
      .mounts/<hex>           where the erofs driver mounts an image for all its users
      <id>/fs                 what a snapshot consists of, or what its container writes
      <id>/work               overlayfs's own
      <id>/row.json           the row, for a database that was lost (see :mod:`.row_file`)
      .new/<random>/          being made, or removed; flocked by its maker, so that others know a dead one
      .looked                 the boot in which all was looked at
    trash/                    on the same file system

What is made is made below ``.new``, synced, and renamed to its number within the transaction that adds its row. So a
folder with a number that no row has is rubbish, and so is what no process holds below ``.new``. Who removes a snapshot
has a folder there as well, and who fails takes ``.looked`` away. So where neither tells of anything, nothing is
rubbish, and to know that takes no look at the rest.
"""

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from prestow.content.descriptors import DIRECTORY, KNOWN_DIRECTORY, opened
from prestow.content.disk import make_folder, sync_folder, translated
from prestow.content.lock import FileLock
from prestow.content.process_identity import Process
from prestow.digest import Digest
from prestow.errors import CancelledError, ExhaustedError, StorageError
from prestow.snapshots.mounts import syscalls
from prestow.snapshots.remove import bury, remove_tree

_NEW = ".new"
_LOOKED = ".looked"
_OLD_MOUNT = ".mnt"
"""Suffix of a shared mount's place, as long as older versions made it."""

_LOCK_TIMEOUT = 60.0
_COMMIT_TIMEOUT = 900.0


class Folders:
    """The folders of one driver's snapshots."""

    def __init__(self, root: Path, *, trash: Path, durable: bool = True) -> None:
        """Open the driver's folder, or make it.

        Args:
            root: the folder; links above it are resolved, for that is how the kernel names mounts.
            trash: folder for what is being removed.
            durable: whether to wait for the disk before a snapshot is committed.

        Raises:
            StorageError: it cannot be made.
        """
        with translated(f"opening {root}"):
            make_folder(root, durable=durable)
            make_folder(trash, durable=durable)
            self.root = root.resolve()
        self.trash = trash
        self.durable = durable

    def fs(self, number: int) -> Path:
        """Return the content of a snapshot."""
        return self.root / str(number) / "fs"

    def work(self, number: int) -> Path:
        """Return overlayfs's working folder of a snapshot."""
        return self.root / str(number) / "work"

    def lock(self) -> FileLock:
        """Take the driver's lock, among all processes.

        Raises:
            UnavailableError: another holder had it for a minute.
        """
        return FileLock(self.root / ".lock", timeout=_LOCK_TIMEOUT, what=f"the directory {self.root}")

    def committing(self, chain_id: Digest, *, timeout: float = _COMMIT_TIMEOUT) -> FileLock:
        """Become the only one, of all processes, who makes the files of a chain ID.

        Raises:
            UnavailableError: another one has been at it for so many seconds.
        """
        locks = self.root / ".locks"
        with translated(f"making {locks}"):
            make_folder(locks, durable=False)
        path = locks / chain_id.encoded[:2]
        return FileLock(path, timeout=timeout, what=f"unpacking {chain_id.short} ({self.root.name})")

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """Yield a new folder to make something in; what is not published from it goes away.

        To remove what was made may take nearly as long as to make it: work that is to end leaves that to the next.

        Raises:
            StorageError: the disk failed.
        """
        staged = self.root / _NEW / secrets.token_hex(8)
        with translated(f"making {staged}"):
            make_folder(staged.parent, durable=False)
            held = self._hold(staged)
        unwanted: Path | None = staged
        try:
            yield staged
        except CancelledError:
            unwanted = None
            raise
        except BaseException:
            (self.root / _LOOKED).unlink(missing_ok=True)  # what was published already is rubbish perhaps
            raise
        finally:
            try:
                if unwanted is not None:
                    remove_tree(unwanted)
            finally:
                os.close(held)

    @contextmanager
    def underway(self) -> Iterator[None]:
        """Let others know, should this process die within the block, that something here may be rubbish.

        On a full disk, where removing is what helps, they learn it from ``prune`` or after the next boot.
        """
        with ExitStack() as marked:
            with suppress(ExhaustedError):
                marked.enter_context(self.stage())
            yield

    def is_new(self, path: Path) -> bool:
        """Whether something was being made, and no process works at it any more."""
        return path.parent != self.root or path.name.startswith(_NEW)

    def _hold(self, staged: Path) -> int:
        with self.lock():  # no process may find it before it is locked
            staged.mkdir(0o700)
            held = os.open(staged, KNOWN_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_SH)
            except OSError:
                os.close(held)
                raise
        return held

    def sync(self) -> None:
        """Wait until everything that was written is on the disk.

        Raises:
            StorageError: the disk failed; what was written is uncertain.
        """
        if not self.durable:
            return
        with translated(f"syncing {self.root}"), opened(self.root, KNOWN_DIRECTORY) as fd:
            syscalls.syncfs(fd)

    def publish(self, files: Iterable[tuple[Path, str]]) -> None:
        """Publish files and folders under their names; rubbish that has one goes to the trash first.

        Raises:
            StorageError: the disk failed.
        """
        for staged, name in files:
            target = self.root / name
            with translated(f"publishing {target}"):
                if os.path.lexists(target):
                    self.bury(target)
                staged.rename(target)
        if self.durable:
            with translated(f"syncing {self.root}"):
                sync_folder(self.root)

    def has(self, number: int) -> bool:
        """Whether a folder has a number, be there a row or not."""
        return os.path.lexists(self.root / str(number))

    def mount_point(self, chain_id: str) -> Path:
        """Return the place where an image is mounted for all its users."""
        return self.root / ".mounts" / Digest(chain_id).encoded

    def old_mount_points(self) -> list[Path]:
        """List the places where older versions mounted."""
        with translated(f"listing {self.root}"):
            return sorted(self.root.glob(f"*{_OLD_MOUNT}"))

    def mount_points(self) -> list[Path]:
        """List the places where something is, was or will be mounted."""
        with translated(f"listing {self.root}"):
            return _entries(self.root / ".mounts")

    def bury(self, path: Path) -> Path | None:
        """Move a file or folder to the trash, and tell where it is; see :func:`prestow.snapshots.remove.bury`."""
        return bury(path, self.trash)

    def seem_touched(self) -> bool:
        """Whether a process died at work here, or none has looked since the machine was started."""
        with translated(f"listing {self.root}"):
            if any(map(_abandoned, _entries(self.root / _NEW))):
                return True
            # After a power cut a row may be gone whose files are there, and nothing tells of it.
            with suppress(FileNotFoundError):
                return (self.root / _LOOKED).read_text() != Process.current().boot_id
        return True

    def looked(self) -> None:
        """Note that all is in order here in this boot."""
        with suppress(OSError):
            fd = os.open(self.root / _LOOKED, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                os.fchmod(fd, 0o600)  # whatever the umask
                file.write(Process.current().boot_id)

    def seem_untidy(self, known: set[str]) -> bool:
        """Whether something here may be a stray; only a look, which waits for no lock."""
        with translated(f"listing {self.root}"):
            return next(self._strays(known), None) is not None

    def strays(self, known: set[str]) -> list[Path]:
        """Find what is not in ``known``, and what its maker left unfinished; mount points are not looked at.

        Ask within a transaction, so that no process is between the folder and its row.
        """
        with self.lock(), translated(f"listing {self.root}"):
            return sorted(self._strays(known))

    def _strays(self, known: set[str]) -> Iterator[Path]:
        yield from filter(_abandoned, _entries(self.root / _NEW))
        for path in self.root.iterdir():
            if path.name.startswith(f"{_NEW}-"):  # as older versions made it
                yield from filter(_abandoned, [path])
            elif not (path.name in known or path.name.startswith(".") or path.suffix == _OLD_MOUNT):
                yield path


def _entries(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(folder.iterdir())
    return []


def _abandoned(staged: Path) -> bool:
    try:
        fd = os.open(staged, DIRECTORY)
    except OSError:
        return False  # gone meanwhile
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def check_folder(path: Path) -> Path:
    """Return a folder, if it is there.

    Raises:
        StorageError: it is not.
    """
    if not path.is_dir():
        raise StorageError(f"{path} is missing; remove the snapshot and create it again")
    return path
