"""A fresh store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metadata.factory import Home
from tests.tmpfs import tmp_path

__all__ = ["home", "tmp_path"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home.open(tmp_path)
    yield opened
    opened.db.close()
