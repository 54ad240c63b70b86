"""The content of all files below a directory, while other processes create and remove some of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each regular file with its content."""
    for inner, _, names in os.walk(directory):  # unlike Path.rglob it goes on when a directory is removed
        for name in names:
            path = Path(inner, name)
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.read_bytes()
