"""Parameters of tests that take seconds for each: ``make test`` tries the usual ones, ``make long`` the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def long_but(usual: object, every: Iterable[Any]) -> list[Any]:
    """Return all of them, marked ``long`` but for the usual one."""
    return [each if each == usual else pytest.param(each, marks=pytest.mark.long) for each in every]
