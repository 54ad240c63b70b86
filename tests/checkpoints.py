"""The checkpoints of a pull, as parameters of tests that take seconds for each."""

from typing import Any

import pytest

from prestow.checkpoints import CHECKPOINTS

PULL = CHECKPOINTS[: CHECKPOINTS.index("tagged") + 1]


def large_but(usual: str) -> list[Any]:
    """Return all of them; only ``usual`` is tried by ``make test``, the others by ``make large``."""
    return [word if word == usual else pytest.param(word, marks=pytest.mark.large) for word in PULL]
