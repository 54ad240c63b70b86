"""A process with mounts of its own, which end with it: whatever a test mounts there is gone afterwards, failed or not.

Such a process is also a machine's life between two boots: see :mod:`tests.crash.power`.
"""

import ctypes
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNS = 0x20000
_SET_CHILD_SUBREAPER = 36
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18


def apart(work: Callable[[], object]) -> str:
    """Do something in a forked process with mounts of its own; as :func:`forked`."""

    def alone() -> object:
        _unshare_mounts()
        return work()

    return forked(alone)


def forked(work: Callable[[], object]) -> str:
    """Do something in a forked process, and give what comes of it as text; an exception in it is one here.

    Raises:
        AssertionError: with the traceback of whatever ended the work.
    """
    mine, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(mine)
        _run(work, theirs)
    os.close(theirs)
    with os.fdopen(mine, "rb") as told:
        text = told.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, text or f"ended with status {status}"
    return text


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends (PR_SET_CHILD_SUBREAPER(2const))."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def end_children() -> None:
    """Kill this process's children, and what they leave to it, until there are none."""
    with suppress(ChildProcessError):
        while True:
            for child in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)


def _run(work: Callable[[], object], told: int) -> None:
    status = 1
    try:
        with os.fdopen(told, "w") as file:
            try:
                file.write(str(work()))
                status = 0
            except BaseException:  # noqa: BLE001 - told to the parent
                file.write(traceback.format_exc(limit=-15))
    finally:
        os._exit(status)


def _unshare_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    if libc.unshare(_CLONE_NEWNS) < 0 or libc.mount(None, b"/", None, flags, None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
