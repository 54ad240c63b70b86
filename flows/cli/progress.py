"""Progress on standard error: bars on a terminal, plain lines elsewhere; standard output stays the answer's.

When the block is left, or a container's process takes over the terminal, nothing more is shown: threads that an
interrupted run left behind may go on telling.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from flows.cli.output import say, size
from prestow.errors import printable
from tasks.journal import Line, listening

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_QUIET = {"verify", "tag", "resolve", "sweep"}  # over before a person could read of it
_FOREGROUND = "run_container"
_SECONDS = 5.0  # between two lines of one step


@contextmanager
def shown() -> Iterator["Display"]:
    """Show what the steps of the flows inside the block do."""
    console = _terminal()
    display = _Lines() if console is None else _Bars(console)
    try:
        with listening(display):
            yield display
    finally:
        display.end()


def _terminal() -> "Console | None":
    """Return standard error, if it is a terminal on which the cursor can be moved."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _title(line: Line) -> str:
    subject = line.subject[:19] if line.subject.startswith("sha") else printable(line.subject, 60)
    return f"{line.step.replace('_', ' ')} {subject}"


def _said(line: Line) -> str | None:
    """Return the sentence that a line is for a person, if it is one."""
    if line.what == "warning":
        return line.why
    if line.what != "waiting":
        return None
    return f"{line.step}: tried again in {line.seconds:.1f} s: {line.why}"


class Display(ABC):
    """Takes the journal's lines, from any thread, one at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ended = False

    def __call__(self, line: Line) -> None:
        """Take a line."""
        if line.step == _FOREGROUND and line.what == "began":
            self.end()
        with self._lock:
            if not self._ended:
                self._show(line)

    def end(self) -> None:
        """Show nothing more."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._close()

    @abstractmethod
    def _show(self, line: Line) -> None:
        """Show one line."""

    @abstractmethod
    def _close(self) -> None:
        """Leave the terminal as it was."""


class _Lines(Display):
    """One line when a step ended, and one every few seconds of a long one."""

    def __init__(self) -> None:
        super().__init__()
        self._moved: dict[tuple[str, str], int] = {}
        self._shown_at: dict[tuple[str, str], float] = {}

    def _show(self, line: Line) -> None:
        where = (line.step, line.subject)
        moved = self._moved[where] = self._moved.get(where, 0) + line.count
        now = time.monotonic()
        shown_at = self._shown_at.setdefault(where, now)
        if line.what == "ended" and line.step not in _QUIET:
            say(f"{_title(line)}: {line.seconds:.2f} s{f', {size(moved)}' if moved else ''}")
        elif line.what == "failed":
            say(f"{_title(line)}: failed")
        elif sentence := _said(line):
            say(sentence)
        elif line.what == "moved" and now - shown_at > _SECONDS:
            self._shown_at[where] = now
            say(f"{_title(line)}: {size(moved)}{f' of {size(line.total)}' if line.total else ''}")

    def _close(self) -> None:
        """Nothing is left of plain lines."""


class _Bars(Display):
    """One bar a step that is under way."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[bytes]}"))
        self._bars = Progress(*columns, console=console, transient=True)
        self._known: dict[tuple[str, str], tuple[TaskID, _Transfer]] = {}
        self._bars.start()
        self._shown = True

    def _show(self, line: Line) -> None:
        if sentence := _said(line):
            say(sentence)  # above the bars
        self._show_bars(wanted=line.what != "held")
        where = (line.step, line.subject)
        if line.what == "began" and where not in self._known:
            self._known[where] = self._bars.add_task(_title(line), total=line.total, bytes=""), _Transfer(line.total)
        if where not in self._known:
            return
        bar, transfer = self._known[where]
        self._bars.update(bar, advance=line.count, bytes=transfer.moved(line.count))
        if line.what in ("ended", "failed"):
            self._bars.remove_task(bar)
            del self._known[where]

    def _show_bars(self, *, wanted: bool) -> None:
        """Leave the terminal to the person who is asked there, until something happens again."""
        if wanted is not self._shown:
            (self._bars.start if wanted else self._bars.stop)()
            self._shown = wanted

    def _close(self) -> None:
        self._bars.stop()


@dataclass(slots=True)
class _Transfer:
    """The bytes of one step, as far as they are known to be moved."""

    total: int | None
    so_far: int = 0
    began: float = field(default_factory=time.monotonic)

    def moved(self, count: int) -> str:
        """Count some more, and tell about all; nothing of a step that moves none."""
        self.so_far += count
        if not self.so_far:
            return ""
        whole = f" of {size(self.total)}" if self.total else ""
        return f"{size(self.so_far)}{whole}, {size(self.so_far / (time.monotonic() - self.began + 0.001))}/s"
