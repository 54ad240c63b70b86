"""Progress on standard error: bars on a terminal, plain lines elsewhere; standard output stays the answer's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from flows.cli.output import say, size
from tasks.journal import Line, listening

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_QUIET = {"verify", "tag", "resolve"}  # over before anybody could read of it


@contextmanager
def shown() -> Iterator[None]:
    """Show what the steps of the flows inside the block do."""
    if not sys.stderr.isatty():
        with listening(_Lines()):
            yield
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars, listening(_Bars(bars)):
        yield


def _title(line: Line) -> str:
    subject = line.subject[:19] if line.subject.startswith("sha") else line.subject
    return f"{line.step.replace('_', ' ')} {subject}"


class _Lines:
    """One line when a step ended, and one for every tenth part of a long transfer."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, str], int] = {}
        self._lock = Lock()

    def __call__(self, line: Line) -> None:
        with self._lock:
            self._note(line)

    def _note(self, line: Line) -> None:
        where = (line.step, line.subject)
        before = self._moved.get(where, 0)
        now = self._moved[where] = before + line.count
        if line.what == "ended" and line.step not in _QUIET:
            moved = f", {size(now)}" if now else ""
            say(f"{_title(line)}: {line.seconds:.2f} s{moved}")
        elif line.what == "failed":
            say(f"{_title(line)}: failed")
        elif line.what == "moved" and line.total and now * 10 // line.total > before * 10 // line.total > 0:
            say(f"{_title(line)}: {size(now)} of {size(line.total)}")


class _Bars:
    """One bar a step that moves bytes."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._known: dict[tuple[str, str], TaskID] = {}
        self._lock = Lock()

    def __call__(self, line: Line) -> None:
        where = (line.step, line.subject)
        with self._lock:
            if line.what == "began" and where not in self._known:
                self._known[where] = self._bars.add_task(_title(line), total=line.total)
            bar = self._known.get(where)
            if bar is None:
                return
            self._bars.advance(bar, line.count)
            if line.what in ("ended", "failed"):
                self._bars.remove_task(self._known.pop(where))
