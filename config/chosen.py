"""The store that a program has chosen for a block of its code: the default of whatever flow is called there."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_VARIABLE = "PRESTOW_HOME"

_chosen: ContextVar[str | None] = ContextVar("chosen store", default=None)


class _Open:
    """The choices of all blocks of this process that are open; processes that they start inherit the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._homes: dict[object, str] = {}
        self._outside: str | None = None

    def add(self, block: object, home: str) -> None:
        with self._lock:
            if not self._homes:
                self._outside = os.environ.get(_VARIABLE)
            self._homes[block] = os.environ[_VARIABLE] = home

    def remove(self, block: object) -> None:
        with self._lock:
            del self._homes[block]
            now = next(reversed(self._homes.values()), self._outside)
            if now is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = now

    def several(self) -> bool:
        with self._lock:
            return len(set(self._homes.values())) > 1


_open = _Open()


@contextmanager
def choosing(home: str | Path) -> Iterator[str]:
    """Make a store the default in this block, its threads, and the processes that it starts; return its absolute path.

    Inner blocks win over outer ones, and blocks in two threads do not disturb each other.
    """
    chosen = str(Path(home).expanduser().absolute())
    block, before = object(), _chosen.set(chosen)
    _open.add(block, chosen)
    try:
        yield chosen
    finally:
        _open.remove(block)
        _chosen.reset(before)


def chosen() -> str | None:
    """Return the store that the innermost block has chosen; None where the environment decides.

    Raises:
        ValueError: blocks have chosen different stores, and this thread was started without the context of any.
    """
    home = _chosen.get()
    if home is None and _open.several():
        raise ValueError(
            "this thread cannot choose between the connected stores; pass home=, "
            "or start it by contextvars.copy_context().run"
        )
    return home
