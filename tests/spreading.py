"""How tests are spread over the processes of pytest-xdist, and in which order; a plugin for pytest.

Works with ``--dist loadfile --no-loadscope-reorder``: else pytest-xdist begins with the files that have most tests.
Files that need the deployments of the one Prefect server (fixture ``deploying``) all go to one process. Were they kept
apart by a lock, the other processes would stand and wait for it.
"""

from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

_HERE = Path(__file__).parent
_WAITING = ("flows", "tasks")
"""Rooms most of whose tests wait for Prefect."""
_LONG = ("hostile", "crash", "metadata", "gc", "snapshots", "content")
"""Of the others, those whose tests take longest."""


@cache
def _deploys(file: Path) -> bool:
    # The process that spreads the tests knows no more of them than the files where they are.
    return "deploying" in file.read_text()


class Spreading(LoadFileScheduling):
    """Keep the tests of a file together, and the files that deploy."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "deployments" if _deploys(_HERE.parent / file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading | None:
    """Spread tests in our way."""
    return Spreading(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that deploy, then mix files that wait with files that compute, so that processors are busy."""
    files = {item.path: item.path.relative_to(_HERE).parts[0] for item in items}
    waiting = [file for file, room in files.items() if room in _WAITING]
    others = [file for file, room in files.items() if room not in _WAITING]
    others.sort(key=lambda file: _LONG.index(files[file]) if files[file] in _LONG else len(_LONG))
    place = {file: at / len(group) for group in (waiting, others) for at, file in enumerate(group)}
    items.sort(key=lambda item: (not _deploys(item.path), place[item.path]))
