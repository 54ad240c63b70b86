"""A test that hangs beyond its timeout ends its process, and says where it hung; a plugin for pytest.

pytest-timeout raises an exception in the main thread, once a test. The clean-up after it may hang again, as the end of
a block of ``subprocess.Popen`` does. So each part of a test (its fixtures, its body, their end) has the time of the
whole test and a minute. Then all stacks are written and the process ends; pytest-xdist names the test, and runs the
others in a new process.
"""

import faulthandler
import os
from collections.abc import Iterator

import pytest

_MORE = 60.0
_LONG = 900.0
"""Seconds for a test with the mark ``long``: it waits for much that a busy machine does late."""
_STDERR = pytest.StashKey[int]()


def limit(item: pytest.Item) -> float:
    """Return how many seconds each part of a test may take."""
    marker = item.get_closest_marker("timeout")
    return _MORE + float(marker.args[0] if marker else item.config.getini("timeout"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the limit of each long test that has none of its own."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_LONG))


def pytest_configure(config: pytest.Config) -> None:
    """Keep the standard error of this process; that of a test is captured."""
    config.stash[_STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close it."""
    os.close(config.stash[_STDERR])


def _guarded(item: pytest.Item) -> Iterator[None]:
    faulthandler.dump_traceback_later(limit(item), exit=True, file=item.config.stash[_STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


# pytest cancels it when a part has failed, so it is set for each anew.
pytest_runtest_setup = pytest.hookimpl(wrapper=True, tryfirst=True)(_guarded)
pytest_runtest_call = pytest.hookimpl(wrapper=True, tryfirst=True)(_guarded)
pytest_runtest_teardown = pytest.hookimpl(wrapper=True, tryfirst=True)(_guarded)
