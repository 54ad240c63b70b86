"""A fresh store for each test, as the tests of its metadata have."""

from tests.metadata.conftest import home
from tests.tmpfs import tmp_path

__all__ = ["home", "tmp_path"]
