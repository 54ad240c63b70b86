"""Places to mount in, and nothing left mounted after a test."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.mountinfo import mounts_below


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what mounts where mounting is not allowed."""
    for item in items:
        if os.geteuid() and "mounting" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="needs root to mount"))


@pytest.fixture
def mounting(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in which a test may mount; whatever it leaves is taken down."""
    yield tmp_path
    for point in reversed(mounts_below(tmp_path)):
        syscalls.umount(point.path)


@pytest.fixture
def memory(mounting: Path) -> Iterator[Path]:
    """Yield a folder on a tmpfs: quick, and where EROFS cannot be mounted from files."""
    folder = mounting / "tmpfs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "prestow-test", folder], check=True)
    yield folder
    # A loop device lets go of its file a moment later if another process tries the same device just then.
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(params=["disk", "a:b,c d\\e", "tmpfs"])
def place(request: pytest.FixtureRequest, mounting: Path) -> Path:
    """Return a folder on the disk, one with a name that mount options cannot stand, and one on a tmpfs."""
    if request.param == "tmpfs":
        found: Path = request.getfixturevalue("memory")
        return found
    folder = mounting / str(request.param)
    folder.mkdir()
    return folder
