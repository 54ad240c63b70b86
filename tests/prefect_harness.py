"""A real Prefect server for the tests of flows: started once, by our own launcher, and shared by all xdist workers.

``from tests.prefect_harness import deploying, prefect_server`` in ``conftest.py`` makes the fixtures known. A test that
asks for them runs its flows in the pytest process; ``tests.prefect_records`` then tells what the server recorded.
Importing this module does not import Prefect, so that the engine's tests need not wait for it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.connection import using_api
from flows.local_server.ensure import Server, ensure, environment, stop
from tests.server_logs import SHARED, check_log


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a running server, for tests that start processes of their own: Prefect is not imported in this one."""
    home = _shared(tmp_path_factory) / SHARED
    home.mkdir(mode=0o700, exist_ok=True)
    with (home / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield ensure(home)
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another worker still uses it, and will stop it
        try:
            check_log(home)  # what its end then interrupts, it complains of
        finally:
            stop(home)


@pytest.fixture(scope="session")
def prefect_server(prefect_api: Server) -> Iterator[Server]:
    """Yield the same server, to which Prefect in this process is connected until the session ends."""
    with _client_of(prefect_api):
        yield prefect_api


@pytest.fixture(scope="module")
def deploying(prefect_server: Server) -> Iterator[None]:
    """Have the deployments and their pool: ``tests.spreading`` keeps all that ask for this in one process.

    Runs that the tests of a file leave behind are removed, else the next file's worker would make them first.
    """
    yield
    from tests.prefect_records import remove_waiting_runs

    remove_waiting_runs("prestow")


def _shared(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this session share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def _client_of(server: Server) -> Iterator[None]:
    """Connect this process to a store's server, whatever its user's own settings are, and restore them at the end."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(environment(server))
    try:
        with using_api(server.directory.parent):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
