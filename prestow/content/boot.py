"""This boot of the machine: whether the same one as then, and how long it has lasted.

A wall clock may jump by years; what was noted with these two still tells afterwards how long ago it was.
"""

import time
from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Give the kernel's random name of this boot; empty where it gives none, which equals no other boot."""
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def uptime() -> float:
    """Give the seconds since the boot, those of sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
