"""A server whose store is gone has nobody to serve."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.local_server.ensure import ensure, stop
from flows.local_server.presence import Presence
from prestow.content.process_identity import start_time
from prestow.store.folder import open_folder
from tests.prefect_records import until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A store; if it still has a server at the end, that is stopped."""
    folder = tmp_path / "store"
    open_folder(folder)
    yield folder
    stop(folder)


@pytest.fixture
def present(home: Path) -> Iterator[Presence]:
    """What a server of the store knows of it."""
    (home / "prefect").mkdir()
    (home / "prefect" / "server.json").write_text("{}")
    lock = os.open(home / "prefect" / "server.lock", os.O_RDWR | os.O_CREAT)
    yield Presence(home / "prefect", lock)
    os.close(lock)


def _made_anew(home: Path) -> None:
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    shutil.rmtree(home)
    copy.rename(home)


GONE: dict[str, Callable[[Path], object]] = {
    "removed": shutil.rmtree,
    "moved": lambda home: home.rename(home.with_name("elsewhere")),
    "another in its place": _made_anew,
    "a file in its place": lambda home: (shutil.rmtree(home), home.write_text("")),
    "no store any more": lambda home: (home / "store.json").unlink(),
    "nothing that finds the server": lambda home: (home / "prefect" / "server.json").unlink(),
}


@pytest.mark.parametrize("how", GONE)
def test_a_store_that_is_gone_is_missed(home: Path, present: Presence, how: str) -> None:
    assert present.lasts()

    GONE[how](home)

    assert not present.lasts()


def test_a_server_of_a_folder_that_is_no_store_yet_misses_none(home: Path, present: Presence) -> None:
    (home / "store.json").unlink()
    lock = os.open(home / "prefect" / "server.lock", os.O_RDWR)

    assert Presence(home / "prefect", lock).lasts()
    os.close(lock)


@pytest.mark.long
def test_a_server_ends_when_its_store_is_removed(home: Path) -> None:
    server = ensure(home)

    shutil.rmtree(home)

    until(lambda: [] if _lives(server.pid) else [0], 1, "the end of the server")
    assert not home.exists()


def _lives(pid: int) -> bool:
    return start_time(pid) is not None
