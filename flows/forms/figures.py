"""The figures of a transfer as people read them, in the terminal and in an artifact."""

import math
from typing import TYPE_CHECKING

from flows.forms.markdown import size

if TYPE_CHECKING:
    from tasks.transfers import Figures

_MINUTE, _HOUR = 60, 3600
_LONGEST = 99  # hours


def transfer(figures: "Figures") -> str:
    """Return bytes, rate and time left: ``12.3/40.0 MiB, 3.1 MiB/s, 9 s left``; empty where no bytes are moved."""
    found = [amount(figures)]
    if figures.wait is not None:
        found.append(f"waits {duration(figures.wait)}")
    elif figures.still and figures.total is not None:
        found.append(f"0 B/s for {duration(figures.still)}")
    elif figures.moved and figures.moved != figures.total:
        found.append(f"{size(figures.rate)}/s")
        found.append("" if figures.left is None else f"{duration(math.ceil(figures.left))} left")
    return ", ".join(filter(None, found))


def duration(seconds: float) -> str:
    """Return some seconds as people read them: ``9 s``, ``3 min 20 s``, ``2 h 05 min``; at most ``99 h``."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    hours = whole // _HOUR
    return f"{hours} h {whole % _HOUR // _MINUTE:02} min" if hours < _LONGEST else f"{_LONGEST} h"


def amount(figures: "Figures") -> str:
    """Return the bytes of a transfer in the unit of their total: ``12.3/40.0 MiB``; empty where none are moved."""
    if figures.total is None:
        return size(figures.moved) if figures.moved else ""
    total = size(figures.total)
    number, unit = total.split()
    divisor = figures.total / float(number) if figures.total else 1.0
    moved = figures.moved / divisor
    return f"{moved:.0f}/{total}" if unit == "B" else f"{moved:.1f}/{total}"
