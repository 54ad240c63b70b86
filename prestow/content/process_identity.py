"""This boot of the machine, and the processes of it: whether the same one as then, and whether it still lives.

A wall clock may jump by years, and a process's number is given to another one when it is free, or in another PID
namespace; what was noted with boot, number, namespace and start time still tells afterwards who it was.

What a process makes for a while bears these in its name (:func:`owned_name`), so that what a dead one left is known:

<stem>.<random>.<boot ID>.<PID namespace>.<pid>.<start time>
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_STATE, _STARTED = 0, 19  # of /proc/<pid>/stat, counted from behind the name, which may hold anything
_ENDED = (b"Z", b"X", b"x")
_FIELDS = 5  # of an owner, in a name


def boot_id() -> str:
    """Return the kernel's random name of this boot; empty where it gives none, which equals no other boot."""
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def uptime() -> float:
    """Return the seconds since the boot, those of sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pid_namespace() -> int:
    """Return the kernel's name of the PID namespace that our numbers of processes count in; 0 where it gives none."""
    with suppress(OSError):
        return _NAMESPACE.stat().st_ino
    return 0


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None if it has ended (proc_pid_stat(5))."""
    with suppress(OSError):
        return _started(pid)
    return None


def _started(pid: int) -> int | None:
    """Return the same, and fail where it is not to be found out."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[_STARTED]) if fields[_STATE] not in _ENDED else None


class _Name(NamedTuple):
    boot_id: str
    pid: int
    started: int
    namespace: int


class Process(_Name):
    """A process, named so that no other one ever bears the name, on this machine.

    One that runs in another container may be out of sight: then it is neither known to live nor known to have ended.

    Attributes:
        boot_id: the boot during which it ran.
        pid: its number.
        started: when it started, in clock ticks since that boot.
        namespace: the PID namespace in which it has that number; ours if not given.
    """

    __slots__ = ()

    def __new__(cls, boot_id: str, pid: int, started: int, namespace: int | None = None) -> Self:
        """Name a process."""
        return super().__new__(cls, boot_id, pid, started, pid_namespace() if namespace is None else namespace)

    @classmethod
    def current(cls) -> Self:
        """Name this process; one that was forked is another."""
        pid = os.getpid()
        return cls(boot_id(), pid, start_time(pid) or 0)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`document` gave, or an older prestow, which names no namespace and knew only ours.

        Raises:
            LookupError: a field is missing.
            TypeError, ValueError: a number is none.
        """
        namespace = document.get("namespace", pid_namespace())
        return cls(str(document["boot"]), int(document["pid"]), int(document["started"]), int(namespace))

    def document(self) -> dict[str, str | int]:
        """Return the fields, ready for JSON."""
        return {"boot": self.boot_id, "pid": self.pid, "started": self.started, "namespace": self.namespace}

    def alive(self) -> bool:
        """Whether it is known to run still."""
        here = bool(self.boot_id) and self.boot_id == boot_id() and self.namespace == pid_namespace()
        return here and self.started == start_time(self.pid)

    def ended(self) -> bool:
        """Whether it is known to have ended."""
        boot = boot_id()
        if not (boot and self.boot_id and self.started):
            return False
        if self.boot_id != boot:
            return True
        with suppress(OSError):
            return self.namespace == pid_namespace() and self.started != _started(self.pid)
        return False


def random_hex(count: int) -> str:
    """Return so many random bytes as hexadecimal digits, as `secrets` does, which takes long to import."""
    return os.urandom(count).hex()


def owned_name(stem: str) -> str:
    """Return a name that no other process uses."""
    process = Process.current()
    whose = f"{process.boot_id}.{process.namespace}.{process.pid}.{process.started}"
    return f"{stem}.{random_hex(8)}.{whose}"


def is_abandoned(name: str) -> bool:
    """Whether something bears such a name and its process has ended; what does not tell whose it is, never counts."""
    stem, *fields = name.rsplit(".", _FIELDS)
    if not stem or len(fields) != _FIELDS or not all(field.isdecimal() for field in fields[2:]):
        return False
    namespace, pid, started = map(int, fields[2:])
    return Process(fields[1], pid, started, namespace).ended()
