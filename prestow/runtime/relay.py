"""Signals on their way to a child process.

What arrives before the child is there waits for it. Handlers belong to the main thread; elsewhere a relay does nothing.
"""

import signal
import subprocess
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

RELAYED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

_Handler = Callable[[int, FrameType | None], object] | int | None


class Relay:
    """While it is entered, passes :data:`RELAYED` on to the process that :meth:`to` names."""

    def __init__(self) -> None:
        """Catch nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []
        self._previous: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._arrived) for number in RELAYED}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the signals."""
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """Name the process, and deliver what waited."""
        self._process = process
        while self._waiting:
            process.send_signal(self._waiting.pop(0))

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._waiting.append(number)
        else:
            self._process.send_signal(number)
