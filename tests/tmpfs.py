"""``tmp_path`` in memory, for rooms whose tests sync thousands of times and are not about the disk below.

``from tests.tmpfs import tmp_path`` in a room's ``conftest.py`` takes the place of pytest's own fixture.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own, on a tmpfs where there is one."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="prestow-", dir=_MEMORY) as folder:
        yield Path(folder)
