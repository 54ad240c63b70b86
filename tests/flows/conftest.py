"""Fixtures of the flows' tests: a store, and images of other people's tools."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.container import remove_container
from prestow.node import open_node
from prestow.snapshots.mountinfo import mounts_below
from tests.real_images import real_images

__all__ = ["home", "real_images"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """The folder of a new store; whatever containers a test leaves are removed with their mounts."""
    folder = tmp_path / "store"
    yield str(folder)
    if folder.exists():
        node = open_node(str(folder))
        for record in node.containers.list():
            remove_container(node, record.id)
        for snapshotter in node.snapshotters:
            snapshotter.cleanup()
        node.close()
    assert mounts_below(folder) == ()
