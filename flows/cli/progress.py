"""Progress on standard error: bars on a terminal, plain lines elsewhere; standard output stays the answer's.

Only work that a person waits for is shown: a container that starts from an image that is here says nothing.

When the block is left, or a container's process takes over the terminal, nothing more is shown: threads that an
interrupted run left behind may go on telling.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

from flows.cli.bars import Layout, Row
from flows.cli.output import say, size
from flows.forms.figures import transfer
from prestow.errors import printable
from tasks.journal import Line, listening
from tasks.transfers import Figures, Transfers, Whole

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

_BRIEF = {  # as a rule over before a person could read of it
    "verify", "tag", "resolve", "sweep", "transform_config", "create_snapshot", "write_bundle",
}  # fmt: skip
_FOREGROUND = "run_container"
_SECONDS = 5.0  # between two lines of one step, and of a brief one that is worth a line
_PATIENCE = 0.5  # seconds of work before there are bars: what is over sooner would only flicker
_REDRAWN = 4.0  # times a second


@contextmanager
def shown(way: str) -> Iterator["Display"]:
    """Show what the steps of the flows inside the block do: ``auto``, as ``plain`` lines, or ``none`` of it."""
    display = _display(way)
    try:
        with listening(display):
            yield display
    finally:
        display.end()


def _display(way: str) -> "Display":
    if way == "none":
        return _Nothing()
    console = _terminal() if way == "auto" else None
    return _Lines() if console is None else _Bars(console)


def _terminal() -> "Console | None":
    """Return standard error, if it is a terminal on which the cursor can be moved."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _title(step: str, subject: str) -> str:
    shown = subject[:19] if subject.startswith("sha") else printable(subject, 60)
    return f"{step.replace('_', ' ')} {shown}".rstrip()


def _total(whole: Whole) -> str:
    return f"layers {whole.done}/{whole.layers}"  # a subject is cut at its front


def _said(line: Line) -> str | None:
    """Return the sentence that a line is for a person, if it is one."""
    if line.what in ("warning", "said"):
        return line.why
    if line.what != "waiting":
        return None
    return f"{_title(line.step, line.subject)}: tried again in {line.seconds:.1f} s: {line.why}"


class Display(ABC):
    """Takes the journal's lines, from any thread, one at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ended = False
        self._transfers = Transfers()

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


class _Nothing(Display):
    """Shows no progress; a warning is none."""

    def _show(self, line: Line) -> None:
        if line.what == "warning":
            say(line.why)

    def _close(self) -> None:
        """There is nothing to take away."""


class _Lines(Display):
    """One line when a step ended, and one every few seconds of a long one."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_at: dict[tuple[str, str], float] = {}

    def _show(self, line: Line) -> None:
        now = time.monotonic()
        moved = self._transfers.of(line.step, line.subject, now).moved if line.what == "ended" else 0
        self._transfers.take(line, now)
        title = _title(line.step, line.subject)
        if sentence := _said(line):
            say(sentence)
        elif line.what == "ended" and (line.step not in _BRIEF or line.seconds > _SECONDS):
            say(f"{title}: {line.seconds:.2f} s{f', {size(moved)}' if moved else ''}")
        elif line.what == "began":
            self._shown_at.setdefault((line.step, line.subject), now)
        elif line.what == "moved" and self._is_due(line.step, line.subject, now):
            say(f"{title}: {transfer(self._transfers.of(line.step, line.subject, now))}")
            whole = self._transfers.whole(now)
            if whole is not None and whole.layers > 1 and self._is_due("", "", now):
                say(f"{_total(whole)}: {transfer(whole.figures)}")

    def _is_due(self, step: str, subject: str, now: float) -> bool:
        """Whether the last line about this is old enough for another one."""
        due = now - self._shown_at.get((step, subject), 0.0) > _SECONDS
        if due:
            self._shown_at[step, subject] = now
        return due

    def _close(self) -> None:
        """Nothing is left of plain lines."""


class _Bars(Display):
    """A line with a bar for each step in progress, and one for all layers; only once a person has waited for them."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console
        self._layout = Layout(ascii_only=console.options.ascii_only)
        self._live: Live | None = None
        self._soon: Timer | None = None
        self._due = 0.0

    def _show(self, line: Line) -> None:
        now = time.monotonic()
        if (sentence := _said(line)) and not self._transfers.is_waited_for(line, now):
            say(sentence)  # above the bars, which show what else waits
        self._transfers.take(line, now)
        if line.what == "held":
            self._close()  # the terminal is the person's who is asked there, until something happens again
        elif self._live is None:
            self._draw_in(_SECONDS if line.step in _BRIEF else _PATIENCE)

    def _draw_in(self, seconds: float) -> None:
        """Draw bars from then on, unless they are to be drawn sooner."""
        due = time.monotonic() + seconds
        if self._soon is not None:
            if self._due <= due:
                return
            self._soon.cancel()
        self._due, self._soon = due, Timer(seconds, self._begin)
        self._soon.daemon = True
        self._soon.start()

    def _begin(self) -> None:
        """Draw bars from now on, unless there is nothing more to show."""
        from rich.live import Live

        with self._lock:
            if self._soon is not None and self._live is None:
                self._live = Live(
                    console=self._console, refresh_per_second=_REDRAWN, transient=True, get_renderable=self._drawn
                )
                self._live.start()

    def _close(self) -> None:
        """Take the bars away, whose last picture is empty."""
        if self._soon is not None:
            self._soon.cancel()
        live, self._live, self._soon = self._live, None, None
        if live is not None:
            live.stop()

    def _drawn(self) -> "Text":
        """Return the picture of this moment; rich asks for it from a thread of its own."""
        from rich.text import Text

        now = time.monotonic()
        whole, rows = self._transfers.whole(now), list[Row]()
        if whole is not None and whole.layers > 1 and whole.running:
            rows.append(_row(_total(whole), whole.figures))
        rows += [_row(_title(step, subject), figures) for step, subject, figures in self._transfers.running(now)]
        lines = self._layout.lines(rows, self._console.width) if self._live is not None else []
        return Text("\n".join(lines), no_wrap=True, overflow="crop")


def _row(subject: str, figures: Figures) -> Row:
    share = figures.moved / figures.total if figures.total else None
    return Row(subject, share, transfer(figures))
