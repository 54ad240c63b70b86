"""A signal whose exception Python drops reaches the command nevertheless, and nothing is said of it."""

import signal
import subprocess
import sys

import pytest

from flows.cli.interruption import SENTENCE
from tests.wheels import ROOT

LONG_REPORT = """
import threading
start = threading.Thread.start

def held(thread):
    start(thread)
    thread.join(0.1)  # so that what it does is done within the report, where Python drops what a signal raises

threading.Thread.start = held
"""

PROGRAM = """
import os, sys, threading, weakref
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm
from flows.cli.interruption import interruptible

class Object:
    pass

with interruptible():
    try:
        with capture_sigterm():  # as the engine does around a flow
            gone = Object()
            watched = weakref.ref(gone, lambda _: os.kill(os.getpid(), int(sys.argv[1])))
            del gone
            threading.Event().wait()
    except (KeyboardInterrupt, TerminationSignal):
        print("raised")
        raise KeyboardInterrupt from None
"""


@pytest.mark.parametrize("first", ["", pytest.param(LONG_REPORT, id="in a long report")])
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, -signal.SIGTERM, marks=pytest.mark.long)],
)
def test_a_signal_in_the_callback_of_a_weak_reference_is_not_lost(first: str, number: int, status: int) -> None:
    command = ["env", "--default-signal=INT", sys.executable, "-u", "-c", first + PROGRAM, str(int(number))]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == ("raised\n", f"prestow: {SENTENCE}\n", status)
