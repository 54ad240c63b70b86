"""Ctrl-C or SIGTERM during a flow: the run is told, and the process ends soon, whatever its threads are waiting for.

    SIGINT ───▶ KeyboardInterrupt in the flow ──▶ steps stop, the API knows the run as cancelled ──▶ exit 130
    SIGTERM ──▶ likewise (Prefect takes it first, while a flow runs) ──────────────────────────────▶ end by SIGTERM
          └───▶ after PATIENCE, or with a second signal ──────────────────────────────────────────▶ likewise

A thread may sit in a wait that nothing ends, and an interpreter waits for its threads; so the process is left without
waiting. That is what a crash does too, and the store is made for it: the next run goes on from there.

What a signal's handler raises, Python raises wherever the main thread is; in a finalizer or the callback of a weak
reference it only reports it, and goes on. Such a signal is sent again, after that report: what is raised within it is
lost as well.

This is for the main thread of a process that runs one command, be it started for that or forked for it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from traceback import walk_stack
from types import FrameType
from typing import NoReturn

from flows.cli.output import complain
from prestow.errors import CancelledError

SENTENCE = "interrupted; run the same command again to resume"

_frames = sys._current_frames  # noqa: SLF001 - it has no other name
_PATIENCE = 1.0
_AGAIN = 0.01


@contextmanager
def interruptible(*, as_json: bool = False) -> Iterator[ExitStack]:
    """Let SIGINT and SIGTERM end the process soon while this block runs; where they are ignored, it stays so.

    It says so, with ``as_json`` in a document.

    What is put on the stack is done before the process is left without waiting, and at the end of the block.
    """
    with ExitStack() as last:
        ending = _Ending(last, as_json=as_json)
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        ours = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
        for number in ours:
            signal.signal(number, ending.asked)
        report = sys.unraisablehook
        if ours:
            sys.unraisablehook = ending.dropped
        try:
            yield last
        except KeyboardInterrupt:
            if not ours:
                raise
            ending.leave()
        finally:
            sys.unraisablehook = report
            for number, handler in ours.items():
                signal.signal(number, handler)


class _Ending:
    """The one end of this process, however many ask for it."""

    def __init__(self, last: ExitStack, *, as_json: bool) -> None:
        self._last = last
        self._as_json = as_json
        self._report = sys.unraisablehook
        self._leaving = threading.Lock()
        self._number = 0  # of the signal that was the first

    def asked(self, number: int, _frame: FrameType | None) -> None:
        """Begin to end; at the second time, end."""
        if self._number:
            self._end()
        self._number = number
        timer = threading.Timer(_PATIENCE, self.leave)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def dropped(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Send a signal again whose exception Python dropped, Prefect's too; report any other exception."""
        lost = unraisable.exc_value
        number = signal.SIGINT if isinstance(lost, KeyboardInterrupt) else getattr(lost, "signal", None)
        if number in (signal.SIGINT, signal.SIGTERM):
            self._number = 0
            threading.Thread(target=self._repeat, args=[number], daemon=True).start()
        else:
            self._report(unraisable)

    def _repeat(self, number: int) -> None:
        """Send this signal as soon as the main thread is no longer in a report."""
        main = threading.main_thread().ident
        report = _Ending.dropped.__code__
        while any(frame.f_code is report for frame, _ in walk_stack(_frames().get(main or 0))):
            time.sleep(_AGAIN)
        os.kill(os.getpid(), number)

    def leave(self) -> NoReturn:
        """Do what is to be done last, say what happened, and leave without waiting for anything."""
        with self._leaving:  # and let no signal in again
            self._last.close()
            complain(CancelledError(SENTENCE), as_json=self._as_json)
            self._end()

    def _end(self) -> NoReturn:
        """End by SIGTERM if it was that, so that who sent it sees it obeyed; only the main thread can let go of it."""
        if self._number == signal.SIGTERM and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(128 + (self._number or signal.SIGINT))
