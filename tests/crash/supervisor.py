"""A process whose system calls another one decides about, one by one: to let it be, to fail it, or to kill the process.

``supervised(work, judge)`` forks; the child asks the kernel to report each of the calls that matter (seccomp user
notification), of all its threads, and runs ``work``. The calls of children of its own are let be. The parent counts
them in the order in which they come and asks ``judge`` about each. A call on which the verdict is ``KILL`` or an error
never happens. So a crash can be put before every single call that changes the disk, SQLite's among them, at the price
of a fork.
"""

import ctypes
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from prestow.errors import PrestowError

# Names and numbers; x86-64 has some that arm64 lacks.
_NUMBERS = {
    "x86_64": {
        "read": 0, "pread64": 17, "getdents64": 217, "openat": 257, "open": 2,
        "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "sendfile": 40,
        "copy_file_range": 326, "truncate": 76, "ftruncate": 77, "fallocate": 285,
        "fsync": 74, "fdatasync": 75, "syncfs": 306,
        "rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266,
        "unlink": 87, "unlinkat": 263, "rmdir": 84, "mkdir": 83, "mkdirat": 258, "mknod": 133, "mknodat": 259,
        "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94,
        "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "utimensat": 280,
        "mount": 165, "umount2": 166, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
        "fsmount": 432, "mount_setattr": 442,
    },
    "aarch64": {
        "read": 63, "pread64": 67, "getdents64": 61, "openat": 56,
        "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "sendfile": 71,
        "copy_file_range": 285, "truncate": 45, "ftruncate": 46, "fallocate": 47,
        "fsync": 82, "fdatasync": 83, "syncfs": 267,
        "renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36, "unlinkat": 35, "mkdirat": 34, "mknodat": 33,
        "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54, "setxattr": 5, "lsetxattr": 6,
        "fsetxattr": 7, "utimensat": 88,
        "mount": 40, "umount2": 39, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
        "fsmount": 432, "mount_setattr": 442,
    },
}[platform.machine()]  # fmt: skip
_NAMES = {number: name for name, number in _NUMBERS.items()}

_WRITING, _LAST_STREAM = {"write", "writev"}, 2
_READING = {"read", "pread64", "getdents64"}
_OPENING = {"open": 1, "openat": 2}  # the argument with the flags
_CREATING = os.O_CREAT | os.O_TRUNC

_SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]
_SET_FILTER, _NEW_LISTENER = 1, 8
_NOTIFY, _ALLOW = 0x7FC0_0000, 0x7FFF_0000
_RECEIVE, _SEND = 0xC050_2100, 0xC018_2101
_REPORT, _ANSWER = struct.Struct("=QII iIQ 6Q"), struct.Struct("=QqiI")
_CONTINUE = 1
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word of the call's data; jump if equal; return
_INSTRUCTION = struct.Struct("=HBBI")
_PR_SET_NO_NEW_PRIVS = 38

KILL = -1
"""Verdict: the process dies before the call."""

GO_ON = 0
"""Verdict: the call happens; any greater number is the error that it gives instead."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is about to happen: the how-many-th, and which."""

    number: int
    name: str


@dataclass(slots=True)
class Ended:
    """How a supervised process ended.

    Attributes:
        calls: how many calls were reported.
        last: the call on which it was killed, or that was failed last.
        killed: whether it was.
        error: the error of ours that ended the work, as class and text; empty if it came through.
        foreign: traceback of any other exception.
        told: what the work said.
        status: exit status of a process that was executed in the work's place.
    """

    calls: int
    last: Call | None
    killed: bool
    error: str
    foreign: str
    told: list[str]
    status: int = 0


class Voice:
    """Lets the work tell its supervisor something, without a call that is reported; one line each."""

    def __init__(self, channel: socket.socket) -> None:
        """Speak through ``channel``."""
        self._channel = channel

    def say(self, word: str) -> None:
        """Tell one thing."""
        self._channel.send(word.encode())


def supervised(work: Callable[[Voice], object], judge: Callable[[Call], int], *, reading: bool = False) -> Ended:
    """Run ``work`` in a child and ask ``judge`` about its calls; with ``reading`` also about those that only read."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        mine.close()
        _run(work, theirs, _watched(reading=reading))
    theirs.close()
    with mine:
        _, descriptors, _, _ = socket.recv_fds(mine, 1, 1)
        listener = descriptors[0]
        try:
            ended = _listen(listener, child, judge, reading=reading)
        finally:
            os.close(listener)
        _, status = os.waitpid(child, 0)
        ended.killed, ended.status = os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status)
        while word := mine.recv(1 << 16):
            kind, _, text = word.decode().partition(" ")
            match kind:
                case "error":
                    ended.error = text
                case "foreign":
                    ended.foreign = text
                case _:
                    ended.told.append(word.decode())
    return ended


def _watched(*, reading: bool) -> list[int]:
    return [number for name, number in _NUMBERS.items() if reading or name not in _READING]


def _run(work: Callable[[Voice], object], channel: socket.socket, watched: list[int]) -> None:
    try:
        socket.send_fds(channel, [b"x"], [_report_calls(watched)])
        voice = Voice(channel)
        try:
            work(voice)
        except PrestowError as error:
            voice.say(f"error {type(error).__name__}: {error}")
        except BaseException:  # noqa: BLE001 - told to the parent
            voice.say(f"foreign {traceback.format_exc(limit=-12)}")
    finally:
        os._exit(0)


def _report_calls(watched: list[int]) -> int:
    """Ask the kernel to report these calls of this process, and give the descriptor where it does."""
    program = [(_LOAD, 0, 0, 0)]
    program += [(_EQUAL, len(watched) - at, 0, number) for at, number in enumerate(watched)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    fprog = struct.pack("=H6xQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener: int = libc.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, fprog)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _listen(listener: int, child: int, judge: Callable[[Call], int], *, reading: bool) -> Ended:
    ended = Ended(0, None, killed=False, error="", foreign="", told=[])
    alive = os.pidfd_open(child)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(alive, select.POLLIN)
    try:
        while alive not in (ready := {descriptor for descriptor, _ in poll.poll()}):
            if listener in ready:
                _decide(listener, child, judge, ended, reading=reading)
    finally:
        os.close(alive)
    return ended


def _decide(listener: int, child: int, judge: Callable[[Call], int], ended: Ended, *, reading: bool) -> None:
    """Receive one call and answer it."""
    buffer = bytearray(_REPORT.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError:
        return  # it died meanwhile
    found = _REPORT.unpack(buffer)
    cookie, name, args = found[0], _NAMES[found[3]], found[6:]
    verdict = GO_ON
    own = os.path.exists(f"/proc/{child}/task/{found[1]}")  # noqa: PTH110 - once a call
    changes = name not in _OPENING or reading or args[_OPENING[name]] & _CREATING
    if own and changes and not (name in _WRITING and args[0] <= _LAST_STREAM):  # output is no change
        ended.calls += 1
        verdict = judge(Call(ended.calls, name))
    if verdict != GO_ON:
        ended.last = Call(ended.calls, name)
    if verdict == KILL:
        os.kill(child, signal.SIGKILL)
        return
    answer = _ANSWER.pack(cookie, 0, -verdict, 0 if verdict else _CONTINUE)
    try:
        fcntl.ioctl(listener, _SEND, answer)
    except OSError:
        return
