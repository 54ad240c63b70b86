"""Figures as people read them."""

import pytest

from flows.forms.figures import duration, transfer
from tasks.transfers import Figures

MIB = 1 << 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"), (98 * 3600, "98 h 00 min"), (99 * 3600, "99 h"), (1e12, "99 h"),
    ],
)  # fmt: skip
def test_a_duration_is_in_the_units_that_matter(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        pytest.param(Figures(3 * MIB, 40 * MIB, 1.5 * MIB, 24.7), "3.0/40.0 MiB, 1.5 MiB/s, 25 s left", id="moving"),
        pytest.param(Figures(300, 40 * MIB, 60, 7e5), "0.0/40.0 MiB, 60 B/s, 99 h left", id="slow"),
        pytest.param(Figures(3, 500, 1, 497), "3/500 B, 1 B/s, 8 min 17 s left", id="bytes"),
        pytest.param(Figures(5 * MIB, None, MIB), "5.0 MiB, 1.0 MiB/s", id="without a total"),
        pytest.param(Figures(), "", id="no bytes at all"),
        pytest.param(Figures(0, 40 * MIB), "0.0/40.0 MiB", id="not begun"),
        pytest.param(Figures(MIB, 40 * MIB, still=12), "1.0/40.0 MiB, 0 B/s for 12 s", id="still"),
        pytest.param(Figures(MIB, 40 * MIB, wait=38), "1.0/40.0 MiB, waits 38 s", id="waiting"),
        pytest.param(Figures(40 * MIB, 40 * MIB, MIB, 0.0), "40.0/40.0 MiB", id="complete"),
    ],
)
def test_a_transfer_says_how_far_how_fast_and_how_long(figures: Figures, text: str) -> None:
    assert transfer(figures) == text
