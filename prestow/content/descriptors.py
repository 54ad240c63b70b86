"""How files are opened that others may have put there: never handed on, no link followed, no pipe waited for.

A ``KNOWN`` place is one that was looked up or made by us: a link there is meant.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KNOWN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
KNOWN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY = KNOWN_DIRECTORY | os.O_NOFOLLOW
FILE = KNOWN_FILE | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(path: Path | str, flags: int, mode: int = 0o600) -> Iterator[int]:
    """Yield a descriptor, and close it."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)
