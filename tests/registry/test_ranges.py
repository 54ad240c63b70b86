"""Ranges: what an answer may claim, and what a request may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.registry.ranges import is_part, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 10-99/100", True),
        ("bytes 10-99/*", True),
        ("Bytes 10-99/100", True),
        ("bytes 0-99/100", False),
        ("bytes 10-98/100", False),
        ("bytes 10-99/101", False),
        ("bytes 10-100/100", False),
        ("bytes */100", False),
        ("bytes=10-99/100", True),
        (" bytes  10 - 99 / * ", True),
        ("bytes10-99/100", False),
        ("bytes 10-9 9/100", False),
        ("bytes 10-99/100, bytes 10-99/100", False),
        ("bytes 1\uff10-99/100", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_rest_of_exactly_these_bytes_counts(header: str | None, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_part(header, 10, 100, 100) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=99-99", (99, 100)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-300", (0, 100)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=20-10", (0, 100)),
        ("bytes=-", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("items=0-1", (0, 100)),
        ("nonsense", (0, 100)),
    ],
)
def test_a_range_selects_bytes(header: str, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == expected


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000))
def test_a_selected_range_lies_within_the_bytes(first: int, last: int, size: int) -> None:
    selected = parse_range(f"bytes={first}-{last}", size)

    assert selected is None or 0 <= selected[0] < selected[1] <= size
    assert (selected is None) == (first >= size and last >= first)
