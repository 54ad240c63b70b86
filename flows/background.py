"""Start a process that stays in the background for others, at most one for a lock: standard library only.

    with lock(path) as taken:                          # None: another process holds it
        start("flows.…", …, files=[taken, …], log=…)   # the new process holds the lock from its first moment

The lock is the truth: the kernel drops it with the process, however that ends. ``flows.outliving`` is what such a
process itself does first.
"""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prestow.project import module, search_path

LOCK_FD = 3
"""The descriptor under which the process receives its lock; its other files follow."""


@contextmanager
def lock(path: Path) -> Iterator[int | None]:
    """Yield the open and locked file, to be handed to a new process in this block; None if another one holds it."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def start(program: str, *arguments: str, environment: Mapping[str, str], files: Sequence[int], log: Path) -> int:
    """Start a module, by its name in a checkout, as the leader of a session of its own, and return its pid.

    It gets the ``files``, its lock first, as ``LOCK_FD`` and the descriptors after it; ``log`` as its output; no signal
    that we ignore or block; and no variables but these, ``PATH``, and a ``PYTHONPATH`` with our own modules in front.
    """
    spare = max(*files, LOCK_FD + len(files)) + 1  # any of them may have the number that another one is to get
    paths = (*search_path(), environment.get("PYTHONPATH"))
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", module(program), *arguments],
        {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PATH": os.defpath},
        file_actions=[
            *((os.POSIX_SPAWN_DUP2, file, spare + at) for at, file in enumerate(files)),
            *((os.POSIX_SPAWN_DUP2, spare + at, LOCK_FD + at) for at in range(len(files))),
            *((os.POSIX_SPAWN_CLOSE, spare + at) for at in range(len(files))),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP),
    )


def ready(descriptor: int, seconds: float | None) -> bool:
    """Wait until a descriptor can be read, or the process of a pidfd has ended; False if that was not so in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
