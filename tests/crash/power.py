"""A machine whose power can be cut: an ext4 of which only what was synced is there at the next boot.

A boot is a process with mounts of its own and another boot ID. The disk is a file with a loop device over it; cutting
the power is ext4's own shutdown without a last look at its log (``EXT4_IOC_SHUTDOWN``, as xfstests do it): from then on
nothing is written any more, neither pages nor the journal, and mounting it again replays what the journal has.
"""

import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.crash.apart import adopt_orphans, apart, end_children, forked

_SHUTDOWN, _NO_LOG_FLUSH = 0x8004_587D, 2
_SIZE = 4 << 30  # sparse
_MAKE = ("mkfs.ext4", "-q", "-J", "size=4", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-N", "8192")
_OPTIONS = "loop,commit=300"  # nothing is written merely because time passes
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine.

    Attributes:
        folder: for its disk, on a tmpfs.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """The file that is the disk."""
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        """Where the disk is mounted, during a boot."""
        return self.folder / "root"

    def make(self) -> None:
        """Give it a new disk, with an empty file system."""
        self.root.mkdir(parents=True)
        with self.disk.open("xb") as disk:
            disk.truncate(_SIZE)
        subprocess.run([*_MAKE, self.disk], check=True)

    def copy(self, folder: Path) -> "Machine":
        """Make another machine, switched off, with the same on its disk."""
        other = Machine(folder)
        shutil.rmtree(folder, ignore_errors=True)
        other.root.mkdir(parents=True)
        subprocess.run(["cp", "--sparse=always", self.disk, other.disk], check=True)
        return other

    def boot(self, work: Callable[[], object]) -> str:
        """Do something between switching it on and switching it off, and give what comes of it as text."""
        return apart(lambda: self._run(work))

    def _run(self, work: Callable[[], object]) -> object:
        boot_id = self.folder / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        syscalls.mount(str(boot_id), _BOOT_ID, "", syscalls.MS_BIND, "")
        subprocess.run(["mount", "-o", _OPTIONS, self.disk, self.root], check=True)
        adopt_orphans()
        try:
            return forked(work)
        finally:
            end_children()  # without power nothing runs
            for point in reversed(mounts_below(self.root)):
                syscalls.umount(point.path)

    def cut(self) -> None:
        """Cut the power: what was not synced is lost."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(fd)
