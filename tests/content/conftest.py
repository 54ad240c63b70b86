"""Fixtures of the content store's tests."""

from tests.tmpfs import tmp_path

__all__ = ["tmp_path"]
