"""What stands in the files below a folder; other processes may make and remove some of them meanwhile."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each regular file with its content."""
    for inner, _, names in os.walk(folder):  # unlike Path.rglob it goes on when a folder goes
        for name in names:
            path = Path(inner, name)
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.read_bytes()
