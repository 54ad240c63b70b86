"""Signals by the names that images give them: ``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3``, ``RTMAX-1``.

Runtimes know only some of these names, and the kernel knows all numbers.
"""

import re
import signal

_REALTIME = re.compile(r"RTMIN(?:\+([0-9]{1,2}))?|RTMAX(?:-([0-9]{1,2}))?", re.ASCII)
_NAMES = {name.removeprefix("SIG"): int(number) for name, number in signal.Signals.__members__.items()}


def signal_number(text: str) -> int | None:
    """Return the number of a signal; None for what is none."""
    name = text.upper().removeprefix("SIG") if text.isascii() else ""
    if re.fullmatch("[0-9]{1,2}", name):
        number = int(name) if name == text else 0
    elif match := _REALTIME.fullmatch(name):
        above, below = match.groups()
        number = signal.SIGRTMAX - int(below or 0) if name.startswith("RTMAX") else signal.SIGRTMIN + int(above or 0)
        number = number if number >= signal.SIGRTMIN else 0
    else:
        number = _NAMES.get(name, 0)
    return number if 1 <= number <= signal.SIGRTMAX else None
