"""Ctrl-C during a flow: the run is told, and the process ends soon, whatever its threads are waiting for.

    SIGINT ──▶ KeyboardInterrupt in the flow ──▶ leases given back, run marked as crashed ──▶ exit 130
          └──▶ after PATIENCE, or with a second SIGINT ──────────────────────────────────────▶ exit 130

A thread may sit in a read from a registry that says nothing, and an interpreter waits for its threads; so the process
is left without waiting. That is what a crash does too, and the store is made for it: the next run goes on from there.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn

from flows.cli.output import say

INTERRUPTED = 130
"""Exit status: 128 and the number of SIGINT."""

SENTENCE = "prestow: interrupted; run the same command again to go on"

_PATIENCE = 1.5


@contextmanager
def interruptible() -> Iterator[ExitStack]:
    """Let SIGINT end the process soon while this block runs; where it is ignored, it stays so.

    What is put on the stack is done before the process is left without waiting, and at the end of the block.
    """
    with ExitStack() as last:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield last
            return
        ending = _Ending(last)
        previous = signal.signal(signal.SIGINT, ending.asked)
        try:
            yield last
        except KeyboardInterrupt:
            ending.leave()
        finally:
            signal.signal(signal.SIGINT, previous)


class _Ending:
    """The one end of this process, however many ask for it."""

    def __init__(self, last: ExitStack) -> None:
        self._last = last
        self._leaving = threading.Lock()
        self._asked = False

    def asked(self, _number: int, _frame: FrameType | None) -> None:
        """Begin to end; at the second time, end."""
        if self._asked:
            os._exit(INTERRUPTED)
        self._asked = True
        timer = threading.Timer(_PATIENCE, self.leave)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def leave(self) -> NoReturn:
        """Do what is to be done last, say what happened, and leave without waiting for anything."""
        with self._leaving:  # and never let anybody in again
            self._last.close()
            say(SENTENCE)
            os._exit(INTERRUPTED)
