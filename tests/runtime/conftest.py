"""A bundle with a container's name, for one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.runtime.state import delete_container
from tests.runtime.containers import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    delete_container(box.runtime, box.container_id, state_root=box.state_root)
