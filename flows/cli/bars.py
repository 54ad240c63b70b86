"""The layout of progress on a terminal: a line a transfer, of subject, bar and figures.

    layers 4/7                       ━━━━━━━━━━━━━━────────────────  12.3/40.0 MiB, 3.1 MiB/s, 9 s left
    fetch layer sha256:0123456789ab  ━━━━━━─────────────────────────  4.0/20.0 MiB, 1.0 MiB/s, 16 s left

The figures matter most: where a terminal is too narrow, the bar goes first, and then the subject is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = 2
_SHORTEST, _LONGEST = 8, 40  # columns of a bar
_ECHO = 2  # columns that stay free: Ctrl-C writes ^C there, which must not begin a line that stays


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        subject: of what.
        share: how much of it is done, from 0 to 1; None where that is unknown: such a line has no bar.
        figures: how far it is.
    """

    subject: str
    share: float | None
    figures: str


class Layout:
    """Lays rows out; the figures' column only grows, so that bars keep their length while figures change theirs."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        """Draw with ASCII alone, or with lines."""
        self._done, self._rest, self._cut = ("=", "-", "~") if ascii_only else ("━", "─", "…")
        self._figures = 0

    def lines(self, rows: Sequence[Row], width: int) -> list[str]:
        """Return the lines of rows on a terminal of so many columns."""
        subject = max((len(row.subject) for row in rows), default=0)
        self._figures = max([self._figures, *(len(row.figures) for row in rows)])
        room = max(0, width - _ECHO)
        bar = min(_LONGEST, room - subject - self._figures - 2 * _GAP)
        if bar < _SHORTEST:
            figures = max((len(row.figures) for row in rows), default=0)
            subject = min(subject, max(0, room - _GAP - figures))
            return [self._narrow(row, subject, room) for row in rows]
        columns = ((row.subject.ljust(subject), self._bar(row.share, bar), row.figures) for row in rows)
        return [(" " * _GAP).join(each).rstrip() for each in columns]

    def _narrow(self, row: Row, width: int, room: int) -> str:
        """Return a row without a bar; the end of a digest or a name says most, so a subject is cut at its front."""
        figures, subject = row.figures, row.subject
        while len(figures) > room and ", " in figures:
            figures = figures.rpartition(", ")[0]
        width = width if figures else room
        if len(subject) > width:
            subject = self._cut + subject[len(subject) - width + 1 :] if width > 1 else ""
        return (" " * _GAP).join(filter(None, (subject.ljust(width), figures)))[:room].rstrip()

    def _bar(self, share: float | None, width: int) -> str:
        if share is None:
            return " " * width
        done = int(min(max(share, 0.0), 1.0) * width)
        return self._done * done + self._rest * (width - done)
