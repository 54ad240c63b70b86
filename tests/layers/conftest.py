"""Fixtures of this room."""

from tests.real_images import real_images

__all__ = ["real_images"]
