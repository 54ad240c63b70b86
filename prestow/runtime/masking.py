"""Secret values in what a container writes: masked before anything of it is recorded.

    bytes ─▶ values masked, also those over two reads ─▶ lines of a log, last lines of a message

A value is looked for as the bytes that the container got, so before its output is cut, escaped, or left out. Of a value
with several lines each line is masked by itself, since a log has them one by one. Lines shorter than 4 bytes, without
the spaces around them, are not masked: they stand in any text, and masks in their places would tell them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prestow.runtime.output import Output

MASK = "********"
LEAST_BYTES = 4


@dataclass(slots=True)
class _Unfinished:
    """The end of a stream, in which a value may have begun; of its first ``covered`` bytes a mask was passed on."""

    data: bytes = b""
    covered: int = 0


class Masked:
    """Passes on what a process writes, with a mask in the place of each value."""

    def __init__(self, output: Output, values: Iterable[str]) -> None:
        """Pass on to ``output``."""
        lines = {line.strip().encode() for value in values for line in re.split(r"[\r\n]", value)}
        self._output, self._values = output, [line for line in lines if len(line) >= LEAST_BYTES]
        self._longest = max(map(len, self._values), default=1)
        self._streams: defaultdict[int, _Unfinished] = defaultdict(_Unfinished)

    def __call__(self, piece: bytes, number: int) -> None:
        """Take a piece of a stream. Of an unfinished line, as much is kept back as a value can have begun in."""
        data = self._streams[number].data + piece
        self._pass_on(data, number, max(data.rfind(b"\n") + 1, len(data) - self._longest + 1))

    def close(self) -> None:
        """Pass on what was kept back."""
        for number, stream in self._streams.items():
            if stream.data:
                self._pass_on(stream.data, number, len(stream.data))

    def _pass_on(self, data: bytes, number: int, end: int) -> None:
        stream, passed = self._streams[number], b""
        at = stream.covered
        for first, last in sorted(self._found(data)):
            if first >= end:
                break
            if first >= at:  # else it overlaps what is masked already
                passed += data[at:first] + MASK.encode()
            at = max(at, last)
        passed += data[at:end]
        stream.data, stream.covered = data[end:], max(at - end, 0)
        self._output(passed, number)

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where values are."""
        for value in self._values:
            at = data.find(value)
            while at >= 0:
                yield at, at + len(value)
                at = data.find(value, at + 1)
