"""Transfers: bytes, rate, time left and waits of the steps of a run, worked out from the lines of its journal.

    Transfers().take(line, now)      for each line, from any thread
    .running(now)                  the steps that work or wait, in the order in which they began
    .whole(now)                      all layers to be fetched together

Pure: ``now`` is the caller's clock, in seconds, which never goes back. A rate is that of the last ``WINDOW`` seconds:
that of a transfer that stands still falls to zero. Bytes of layers that were here do not count: a pull expects what it
has to fetch (``tasks.journal.note_expected``).
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tasks.journal import Line

WINDOW = 5.0
"""Seconds over which a rate is measured, and after which a transfer counts as standing still."""

_FETCH = "fetch_layer"
_PIECE = 0.25  # seconds whose bytes are counted together
_SHORTEST = 1.0  # seconds of a transfer that has just begun, or its first chunk would make an absurd rate


@dataclass(frozen=True, slots=True)
class Figures:
    """How far a transfer is at one moment.

    Attributes:
        moved: bytes so far.
        total: bytes in all; None where that is unknown.
        rate: bytes a second over the last seconds.
        left: seconds until the end at that rate; None where that is unknown.
        still: seconds since the last byte, if the transfer stands still; else 0.
        wait: seconds until the next attempt; None if it does not wait for one.
    """

    moved: int = 0
    total: int | None = None
    rate: float = 0.0
    left: float | None = None
    still: float = 0.0
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """All layers to be fetched, together.

    Attributes:
        figures: of all of them; it waits if each of them that is under way does.
        layers: how many there are.
        done: how many are fetched.
        running: whether any is under way, or waits.
    """

    figures: Figures
    layers: int
    done: int
    running: bool


@dataclass(slots=True)
class _Rate:
    """Bytes and when they came."""

    began: float
    last: float
    pieces: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, now: float) -> None:
        """Count the time from now on, if there were no bytes lately."""
        self._forget(now)
        if not self.pieces:
            self.began = now

    def add(self, count: int, now: float) -> None:
        """Count bytes."""
        self.last = now
        if self.pieces and now - self.pieces[-1][0] < _PIECE:
            began, before = self.pieces.pop()
            self.pieces.append((began, before + count))
        else:
            self.pieces.append((now, count))
        self._forget(now)

    def at(self, now: float) -> float:
        """Return the bytes a second."""
        self._forget(now)
        return sum(count for _, count in self.pieces) / min(WINDOW, max(now - self.began, _SHORTEST))

    def still(self, now: float) -> float:
        """Return the seconds since the last byte, or the beginning; 0 before they are enough to be told."""
        return now - self.last if now - self.last >= WINDOW else 0.0

    def _forget(self, now: float) -> None:
        while self.pieces and now - self.pieces[0][0] >= WINDOW:  # as `still` has it, to the last bit
            self.pieces.popleft()


@dataclass(slots=True)
class _Transfer:
    """One step at one subject."""

    total: int | None
    rate: _Rate
    state: Literal["expected", "running", "waiting", "over"] = "expected"
    moved: int = 0
    until: float = 0.0
    why: str = ""
    expected: bool = False

    @property
    def size(self) -> int:
        """Bytes in all, as far as they can be known: what another process fetched meanwhile need not be moved."""
        return self.moved if self.state == "over" else max(self.total or 0, self.moved)

    def figures(self, now: float) -> Figures:
        """Return how far it is."""
        return _figures(
            self.moved,
            self.size if self.total is not None else None,
            self.rate,
            now,
            max(0.0, self.until - now) if self.state == "waiting" else None,
        )


class Transfers:
    """The transfers of a run, or of several; safe for threads."""

    def __init__(self) -> None:
        """Know of none."""
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Transfer] = {}
        self._rate = _Rate(0.0, 0.0)

    def take(self, line: Line, now: float) -> None:
        """Take a line of a journal."""
        if line.what in ("held", "warning", "said"):
            return
        with self._lock:
            where = (line.step, line.subject)
            known = self._known.get(where) or self._known.setdefault(where, _Transfer(line.total, _Rate(now, now)))
            if line.what == "moved":
                self._move(line, known, now)
            else:
                self._change(line, known, now)

    def running(self, now: float) -> list[tuple[str, str, Figures]]:
        """Return step, subject and figures of each transfer that works or waits, in the order in which they came."""
        with self._lock:
            return [(*where, known.figures(now)) for where, known in self._known.items() if _works(known)]

    def of(self, step: str, subject: str, now: float) -> Figures:
        """Return the figures of one transfer."""
        with self._lock:
            known = self._known.get((step, subject))
            return Figures() if known is None else known.figures(now)

    def waits(self, now: float) -> list[str]:
        """Return the reasons for which transfers wait, each once; those that differ in their subject alone are one."""
        with self._lock:
            return list(self._reasons(now).values())

    def is_waited_for(self, line: Line, now: float) -> bool:
        """Whether another transfer waits for the reason that a line gives."""
        with self._lock:
            return _without(line.why, line.subject) in self._reasons(now)

    def whole(self, now: float) -> Whole | None:
        """Return the figures of all layers to be fetched; None if none is."""
        with self._lock:
            layers = [known for (step, _), known in self._known.items() if step == _FETCH]
            if not layers:
                return None
            working = [layer for layer in layers if _works(layer)]
            waits = [layer.until - now for layer in working if layer.state == "waiting"]
            wait = max(0.0, min(waits)) if waits and len(waits) == len(working) else None
            self._rate.last = max(layer.rate.last for layer in layers)
            moved, total = sum(layer.moved for layer in layers), sum(layer.size for layer in layers)
            return Whole(
                _figures(moved, total, self._rate, now, wait),
                len(layers),
                sum(layer.state == "over" for layer in layers),
                bool(working),
            )

    def _reasons(self, now: float) -> dict[str, str]:
        found = dict[str, str]()
        for (_, subject), known in self._known.items():
            if known.state == "waiting" and known.until > now:
                found.setdefault(_without(known.why, subject), known.why)
        return found

    def _move(self, line: Line, known: _Transfer, now: float) -> None:
        known.moved += line.count
        known.rate.add(line.count, now)
        if line.step == _FETCH:
            self._rate.add(line.count, now)

    def _change(self, line: Line, known: _Transfer, now: float) -> None:
        if line.what == "expected" and not _works(known):
            known.total, known.state, known.expected = known.moved + (line.total or 0), "expected", True
        elif line.what == "began" and known.state != "running":
            known.rate, known.state = _Rate(now, now), "running"
            if line.step == _FETCH:
                self._rate.begin(now)
        elif line.what == "waiting":
            known.state, known.until, known.why = "waiting", now + line.seconds, line.why
        elif line.what in ("ended", "failed"):
            known.state = "over" if line.what == "ended" or not known.expected else "expected"
            if line.step != _FETCH:
                del self._known[line.step, line.subject]


def _without(why: str, subject: str) -> str:
    return why.replace(subject, "") if subject else why


def _works(known: _Transfer) -> bool:
    return known.state in ("running", "waiting")


def _figures(moved: int, total: int | None, rate: _Rate, now: float, wait: float | None) -> Figures:
    if wait is not None:
        return Figures(moved, total, wait=wait)
    speed = rate.at(now)
    left = (total - moved) / speed if total is not None and speed else None
    return Figures(moved, total, speed, left, rate.still(now))
