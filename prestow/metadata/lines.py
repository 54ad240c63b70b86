r"""A sorted file of lines, each of which begins with its end of line, with commas between: found by halving, copied.

… [\n{"a": …},\n{"b": …},\n{"c": …}\n] …
begin                          end
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from os import pread
from typing import TypeVar

_K = TypeVar("_K", bound=tuple[str, ...])

_WINDOW = 4096
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an open file, which no process changes.

    Attributes:
        file: the file.
        begin: where the first line begins.
        end: where the last one ends.
    """

    file: FileIO
    begin: int
    end: int

    def read(self, begin: int, end: int) -> bytes:
        """Return bytes, fewer if the file has no more."""
        return pread(self.file.fileno(), max(end - begin, 0), begin)

    def copied(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the lines from one place to another in pieces, without the comma after the last."""
        end -= end < self.end
        while begin < end:
            piece = self.read(begin, min(begin + _PIECE, end))
            if not piece:
                raise OSError(0, "it was cut off meanwhile")
            yield piece
            begin += len(piece)

    def place(self, key: _K, key_of: Callable[[bytes], _K], low: int) -> tuple[int, int]:
        """Return where the line of a key begins and ends, or twice where it would begin; not before ``low``."""
        high = self.end
        while low < high:
            begin = self._start((low + high) // 2, low)
            end = self._stop(begin + 1, high)
            found = key_of(self.read(begin, end).strip(b",\n"))
            if found == key:
                return begin, end
            low, high = (end, high) if found < key else (low, begin)
        return low, low

    def _start(self, at: int, low: int) -> int:
        """Return where the line begins that a byte is in."""
        end = at + 1
        while end > low:
            begin = max(low, end - _WINDOW)
            if (found := self.read(begin, end).rfind(b"\n")) >= 0:
                return begin + found
            end = begin
        return low

    def _stop(self, at: int, high: int) -> int:
        """Return where the line ends that a byte is in."""
        while at < high:
            piece = self.read(at, min(at + _WINDOW, high))
            if (found := piece.find(b"\n")) >= 0:
                return at + found
            at += len(piece) or high
        return high
