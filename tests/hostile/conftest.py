"""A store for each driver, and the sentinel that nothing may touch."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.conformance.bench import Bench
from tests.hostile.arena import Arena
from tests.hostile.case import VICTIM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what mounts where mounting is not allowed."""
    for item in items:
        if os.geteuid() and "victim" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="needs root to mount"))


@pytest.fixture(scope="session")
def victim() -> Iterator[Path]:
    """Yield the sentinel: a folder with all that a layer could harm."""
    VICTIM.mkdir(0o750)
    (VICTIM / "folder").mkdir()
    for name, mode in {"hello": 0o400, "x": 0o644, "folder/f": 0o600}.items():
        path = VICTIM / name
        path.write_text(f"the host's own {name}\n")
        path.chmod(mode)
        os.utime(path, (1, 1))
    (VICTIM / "link").symlink_to("hello")
    os.utime(VICTIM, (2, 2))
    yield VICTIM
    subprocess.run(["rm", "-r", VICTIM], check=True)


@pytest.fixture(scope="module")
def arena(request: pytest.FixtureRequest, victim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Yield a store for each driver, at a path that mount options cannot stand; a test leaves it as it was."""
    folder = tmp_path_factory.mktemp("hostile") / "a:b,c d\\e"
    folder.mkdir()
    with Bench(folder / "store", request.param, durable=False) as bench:
        arena = Arena(bench)
        arena.warm_up()
        yield arena
    for point in reversed(mounts_below(folder)):
        syscalls.umount(point.path)


@pytest.fixture
def inside_the_sentinel(victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the sentinel the current folder, for names that would start there."""
    monkeypatch.chdir(victim)
