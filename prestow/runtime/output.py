r"""What a container's process writes, as lines for a log: whole, in order, harmless, and bounded.

    bytes ─▶ lines ─▶ parts of long lines ─▶ within the limits? ─▶ text, escaped
                                              └─ no: the latest are kept, what they push out is counted

Standard output and standard error are two streams: a line holds bytes of one of them, and lines keep the order in which
their ends were read.

The text of a line is its UTF-8; each control character and each byte that is no UTF-8 is escaped: ``\x1b`` is a
character, ``\xff`` a byte, ``\u0085`` a character beyond ASCII. Tabs and backslashes stay as they are.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

CONTINUES = " [line continues]"
CONTINUED = "[continued] "
STDOUT, STDERR = 1, 2

Output = Callable[[bytes, int], object]
"""Takes a piece of what a process writes, and the number of the stream; an empty one tells that time passes."""

_BURST_SECONDS = 10  # the lines of so many seconds may come at once
_HELD = 200  # lines; the latest, of those that come too fast
_LAST_LINES = 10
_LAST_LINE = 200  # characters
_LAST_BYTES = 4 * (_LAST_LINE + 1)  # which hold one more


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a log takes.

    Attributes:
        lines_per_second: in the long run; ten seconds' worth may come at once.
        total_bytes: of all lines; the last lines come in any case.
        part_bytes: of one line; a longer one is split.
    """

    lines_per_second: int
    total_bytes: int
    part_bytes: int = 16384


@dataclass(frozen=True, slots=True)
class _Part:
    """A line, or a part of one."""

    raw: bytes
    continued: bool
    continues: bool

    @property
    def size(self) -> int:
        return len(self.raw) + (not self.continues)  # with its newline

    @property
    def text(self) -> str:
        return CONTINUED * self.continued + escaped(self.raw) + CONTINUES * self.continues


@dataclass(slots=True)
class _Stream:
    """The unfinished last line of a stream; ``continued`` if its beginning was logged already."""

    rest: bytes = b""
    continued: bool = False


def tee(*outputs: Output | None) -> Output:
    """Return what passes everything on to all of these that there are, in order."""
    found = [output for output in outputs if output is not None]

    def pass_on(piece: bytes, number: int) -> None:
        for output in found:
            output(piece, number)

    return pass_on


class OutputLog:
    """Takes what a process writes, piece by piece, and gives it on line by line."""

    def __init__(
        self,
        say: Callable[[str], object],
        say_omitted: Callable[[str], object],
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pass lines to ``say``; how many were left out, where they are missing, to ``say_omitted``."""
        self._say, self._say_omitted, self._limits, self._clock = say, say_omitted, limits, clock
        self._streams: defaultdict[int, _Stream] = defaultdict(_Stream)
        self._burst = max(1, limits.lines_per_second * _BURST_SECONDS)
        self._budget, self._filled = float(self._burst), clock()
        self._bytes = 0
        self._held: deque[_Part] = deque()
        self._omitted_lines = self._omitted_bytes = 0

    def __call__(self, piece: bytes, number: int) -> None:
        """Take a piece of standard output (1) or standard error (2); an empty one tells that time passes."""
        stream = self._streams[number]
        *lines, stream.rest = (stream.rest + piece).split(b"\n")
        for line in lines:
            self._split(stream, line, ended=True)
        if len(stream.rest) > self._limits.part_bytes:
            rest, stream.rest = stream.rest, b""
            stream.rest = self._split(stream, rest, ended=False)
        self._release()

    def close(self) -> None:
        """Pass on what is left: the last lines, and how many are missing before them."""
        for stream in self._streams.values():
            if stream.rest:
                self._split(stream, stream.rest, ended=True)
                stream.rest = b""
        self._give_held()

    def _split(self, stream: _Stream, line: bytes, *, ended: bool) -> bytes:
        """Pass a line on in parts; of one that goes on, return what is no whole part yet."""
        while len(line) > self._limits.part_bytes:
            at = _boundary(line, self._limits.part_bytes)
            self._take(_Part(line[:at], stream.continued, continues=True))
            line, stream.continued = line[at:], True
        if ended:
            self._take(_Part(line, stream.continued, continues=False))
            stream.continued = False
        return line

    def _take(self, part: _Part) -> None:
        self._fill()
        if not self._held and self._budget >= 1 and self._bytes + part.size <= self._limits.total_bytes:
            self._give(part)
            return
        self._held.append(part)
        if len(self._held) > _HELD:
            lost = self._held.popleft()
            self._omitted_lines += not lost.continues
            self._omitted_bytes += lost.size

    def _fill(self) -> None:
        now = self._clock()
        self._budget = min(self._burst, self._budget + (now - self._filled) * self._limits.lines_per_second)
        self._filled = now

    def _release(self) -> None:
        """Pass on what is held, once there is room for all of it."""
        self._fill()
        size = sum(part.size for part in self._held)
        if self._held and self._budget >= len(self._held) + 1 and self._bytes + size <= self._limits.total_bytes:
            self._give_held()

    def _give_held(self) -> None:
        if self._omitted_bytes:
            self._say_omitted(
                f"{self._omitted_lines} lines ({self._omitted_bytes} bytes) of the container's output are left out "
                f"here: more than log_lines_per_second ({self._limits.lines_per_second}) or log_bytes "
                f"({self._limits.total_bytes}) allows"
            )
            self._budget -= 1
            self._omitted_lines = self._omitted_bytes = 0
        while self._held:
            self._give(self._held.popleft())

    def _give(self, part: _Part) -> None:
        self._budget -= 1
        self._bytes += part.size
        self._say(part.text)


class LastLines:
    """The end of what a process writes, for a message."""

    def __init__(self) -> None:
        """Know of nothing."""
        self._lines: deque[bytes] = deque(maxlen=_LAST_LINES)
        self._rests: dict[int, bytes] = {}

    def __call__(self, piece: bytes, number: int) -> None:
        """Take a piece of standard output (1) or standard error (2)."""
        first, *lines = piece.split(b"\n")
        first = self._rests.get(number, b"") + first[:_LAST_BYTES]
        *ended, rest = [first, *lines[-_LAST_LINES - 1 :]]
        self._lines.extend(line[:_LAST_BYTES] for line in ended)
        self._rests[number] = rest[:_LAST_BYTES]

    def lines(self) -> tuple[str, ...]:
        """Return the last lines, each bounded; unfinished lines come last."""
        found = [*self._lines, *filter(None, self._rests.values())]
        return tuple(_short(escaped(line)) for line in found[-_LAST_LINES:])


def escaped(line: bytes) -> str:
    """Return a line as text that can move no cursor and loses nothing."""
    text = line.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\t" else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - ASCII, and what four digits hold


def _boundary(line: bytes, limit: int) -> int:
    """Return where to cut, so that no UTF-8 character is cut through."""
    at = limit
    while at > limit - 3 and line[at] & 0xC0 == 0x80:  # noqa: PLR2004 - within a character
        at -= 1
    return at if line[at] & 0xC0 != 0x80 else limit  # noqa: PLR2004 - likewise


def _short(text: str) -> str:
    return text if len(text) <= _LAST_LINE else text[:_LAST_LINE] + "…"
