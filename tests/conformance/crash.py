"""Crashes and faults at every system call that Python makes, without a single patched function.

``killed_at_each_call(work)`` runs ``work`` in a forked process, which dies by SIGKILL just before its 1st, 2nd … call
into the kernel, until it comes through alive. ``failing_at_each_call(work, error)`` lets that call fail instead. Calls
are seen through ``sys.setprofile``: those of ``posix`` and ``fcntl``, files' flushes, and statements of SQLite.
"""

import gc
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prestow.errors import PrestowError

_STATEMENTS = {"execute", "executemany"}
_METHODS = {"flush", *_STATEMENTS}
# Of `posix`: what changes nothing on disk, so that dying before it is dying after the call before, or cannot fail.
_PURE = {"fspath", "fsencode", "fsdecode", "getpid", "geteuid", "stat", "lstat", "fstat", "close", "urandom"}
_OF_A_PATH = "_path_"  # how what only takes paths apart is called; each Python has more


EVERY = [pytest.param(7, id="some"), pytest.param(1, marks=pytest.mark.long, id="all")]
"""Which calls where there are many: each seventh; `make long` strikes at all of them."""


class _Countdown:
    """A profile function that does something just before the n-th call."""

    def __init__(self, n: int, strike: Callable[[str], None]) -> None:
        self.left = n
        self._strike = strike

    def __call__(self, _frame: Any, event: str, arg: Any) -> None:
        if event != "c_call" or not _is_system_call(arg):
            return
        self.left -= 1
        if self.left == 0:
            self._strike(arg.__name__)


def _is_system_call(function: Any) -> bool:
    if function.__module__ in ("posix", "fcntl"):
        return function.__name__ not in _PURE and not function.__name__.startswith(_OF_A_PATH)
    return function.__module__ is None and function.__name__ in _METHODS


def killed_at_each_call(work: Callable[[], object], every: int = 1) -> Iterator[int]:
    """Kill ``work`` before its n-th call; the caller looks at what is left, at last at the finished work."""
    n = 1 - every
    alive = False
    while not alive:
        n += every
        child = os.fork()
        if child == 0:
            _die_at(n, work)
        _, status = os.waitpid(child, 0)
        alive = os.WIFEXITED(status)
        assert not alive or os.WEXITSTATUS(status) == 0, f"the work itself failed, not killed at call {n}"
        yield n


def _die_at(n: int, work: Callable[[], object]) -> None:
    status = 1
    try:
        sys.setprofile(_Countdown(n, lambda _: os.kill(os.getpid(), signal.SIGKILL)))
        work()
        sys.setprofile(None)
        status = 0
    finally:
        os._exit(status)


def failing_at_each_call(work: Callable[[], object], error: OSError, every: int = 1) -> Iterator[PrestowError | None]:
    """Let the n-th call of ``work`` fail; the caller looks at the error that came of it, at last at None.

    A foreign exception that leaves the work leaves this as well.
    """
    n = 1 - every
    while True:
        n += every
        countdown = _Countdown(n, _raising(error))
        came: PrestowError | None = None
        gc.disable()  # else what others left could be finalised meanwhile, and its calls be those that fail
        sys.setprofile(countdown)
        try:
            work()
        except PrestowError as found:
            came = found
        finally:
            sys.setprofile(None)
            gc.enable()
        if countdown.left > 0:
            return
        yield came


def _raising(error: OSError) -> Callable[[str], None]:
    def strike(name: str) -> None:
        if name in _STATEMENTS:
            raise sqlite3.OperationalError(error.strerror)
        raise OSError(error.errno, error.strerror)

    return strike
