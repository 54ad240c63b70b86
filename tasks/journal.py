"""The journal of one flow run: which steps ran here, how long, how many bytes.

A flow opens it, steps write into it, the flow's result and the terminal's progress read it. It travels in a context
variable, which Prefect's thread runner copies into every task; a step that Prefect answers from its cache never
runs and so leaves no line: what is missing in the journal was reused.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from prestow.cancellation import Token, check, current
from prestow.errors import printable
from tasks.engine_warnings import heard

if TYPE_CHECKING:
    from prestow.registry.quota import Quota
    from prestow.registry.source import Source

_WHY = 1000  # characters of a reason


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened to a step.

    Attributes:
        what: ``expected`` to begin later; ``began``, ``moved`` (``count`` more bytes), ``ended``, ``failed``;
            ``waiting`` for another attempt; ``held`` after a checkpoint; ``warning``, by the engine; ``said``: how a
            long run gets on.
        step: the step's word; the title of a task run that is ``waiting`` and did not come to its step; the checkpoint
            where the run is ``held``; empty for a ``warning``, or what is ``said``.
        subject: what it works on: a digest, a name, a container ID.
        total: bytes in all, where the step knows; of one that is ``expected``, those that are to be moved.
        count: bytes moved since the last line.
        seconds: duration, when it ended; how long it waits, when it is tried again.
        why: why it failed, or is tried again; the text of a warning, or of what is said.
    """

    what: Literal["expected", "began", "moved", "ended", "failed", "waiting", "held", "warning", "said"]
    step: str
    subject: str
    total: int | None = None
    count: int = 0
    seconds: float = 0.0
    why: str = ""


Listener = Callable[[Line], None]


@dataclass(slots=True)
class Journal:
    """Steps that ran in this process for one flow run; safe to write from several threads.

    Attributes:
        listeners: called with each line, in the thread that writes it.
        took: seconds of each step and subject.
        moved: bytes of each step and subject.
        server: ``host[:port]`` that answered what a reference points to; None if none was asked.
        quota: the registry's latest word on how many requests are left.
    """

    listeners: tuple[Listener, ...] = ()
    took: dict[tuple[str, str], float] = field(default_factory=dict)
    moved: dict[tuple[str, str], int] = field(default_factory=dict)
    server: str | None = None
    quota: "Quota | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, line: Line) -> None:
        """Add a line, and pass it to the listeners."""
        with self._lock:
            where = (line.step, line.subject)
            self.moved[where] = self.moved.get(where, 0) + line.count
            if line.what == "ended":
                self.took[where] = self.took.get(where, 0.0) + line.seconds
        for listener in self.listeners:
            listener(line)

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Send the lines of this block to one more listener."""
        self.listeners += (listener,)
        try:
            yield
        finally:
            self.listeners = tuple(each for each in self.listeners if each is not listener)

    def durations(self, began: float) -> dict[str, float]:
        """Return the seconds of each step that ran, summed, and ``total`` since ``began`` on the monotonic clock."""
        found: dict[str, float] = {}
        for (step, _), took in self.took.items():
            found[step] = found.get(step, 0.0) + took
        found["total"] = time.monotonic() - began
        return {step: round(took, 6) for step, took in found.items()}

    def bytes_moved(self, step: str, subject: str | None = None) -> int:
        """Sum the bytes that a step moved, for one subject or for all."""
        return sum(n for (s, about), n in self.moved.items() if s == step and subject in (None, about))


_journal: ContextVar[Journal | None] = ContextVar("journal", default=None)
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_step: ContextVar[tuple[str, str] | None] = ContextVar("step", default=None)
"""The step of this thread, and its subject; after a failure still, for then Prefect decides whether to try again."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the lines of all journals opened in this block to ``listener`` (the terminal's progress)."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def journal() -> Iterator[Journal]:
    """Open the journal of a flow run; a flow that runs inside another one writes into the outer one's."""
    outer = _journal.get()
    if outer is not None:
        yield outer
        return
    opened = _new_journal()
    token = _journal.set(opened)
    try:
        with heard(lambda text: opened.write(Line("warning", "", "", why=text))):
            yield opened
    finally:
        _journal.reset(token)


def note_retry(title: str, seconds: float, why: str) -> None:
    """Write down that the step of this thread, or the task run ``title``, is tried again in ``seconds``, and why."""
    step, subject = _step.get() or (title, "")
    _open_journal().write(Line("waiting", step, subject, seconds=seconds, why=why))


def note_expected(step: str, subject: str, count: int) -> None:
    """Write down that a step will move ``count`` bytes of a subject."""
    _open_journal().write(Line("expected", step, subject, count))


def note_answers(source: "Source") -> None:
    """Write down what the servers of a source have said of themselves."""
    book = _open_journal()
    book.server, book.quota = source.server or book.server, source.quota or book.quota


def note_said(text: str) -> None:
    """Write down how a long run gets on, in a sentence."""
    _open_journal().write(Line("said", "", "", why=text))


def note_hold(checkpoint: str) -> None:
    """Write down that the run waits for a person."""
    _open_journal().write(Line("held", checkpoint, ""))


@contextmanager
def recorded_step(step: str, subject: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Write a step's beginning and end into the open journal, and give it a function to report bytes with.

    That function, called for each chunk, is also where a step learns that its run is cancelled. Without an open
    journal nothing is noted: the step works all the same.

    Raises:
        CancelledError: the run is to end; at the beginning, or from the function.
    """
    check()
    book, token = _open_journal(), current() or Token()
    began = time.monotonic()

    def advance(count: int) -> None:
        token.check()
        book.write(Line("moved", step, subject, total, count))

    _step.set((step, subject))
    book.write(Line("began", step, subject, total))
    try:
        yield advance
    except BaseException as error:
        book.write(Line("failed", step, subject, total, why=printable(str(error) or type(error).__name__, _WHY)))
        raise
    _step.set(None)
    book.write(Line("ended", step, subject, total, seconds=time.monotonic() - began))


def _open_journal() -> Journal:
    return _journal.get() or _new_journal()


def _new_journal() -> Journal:
    listener = _listener.get()
    return Journal(() if listener is None else (listener,))
