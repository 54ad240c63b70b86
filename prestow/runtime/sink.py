"""Where the output of a container goes, and what its runtime prints does not."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prestow.runtime.output import STDERR, STDOUT, Output

if TYPE_CHECKING:
    from io import FileIO

_MOMENT = 0.005  # seconds
_PIECE = 1 << 16


class Sink:
    """Takes what comes from the container; what the runtime itself says when it starts none is in its log, too.

    The runtime's words and the container's come by the same pipes. Before there is a pid file, nothing of them is
    passed on: either the file appears at once, or the runtime ends. Each stream has a pipe of its own, since runc
    copies both and would put pieces of one between those of a line of the other.
    """

    def __init__(self, process: subprocess.Popen[bytes], pid_file: Path, output: Output, *, mute: bool) -> None:
        """Pass on to ``output``; with ``mute`` nothing, as a container with a terminal has no other stream."""
        self.process = process
        found = {STDOUT: process.stdout, STDERR: process.stderr}
        self._streams = {
            stream.fileno(): (number, cast("FileIO", stream)) for number, stream in found.items() if stream is not None
        }
        self._pid_file, self._output = pid_file, output
        self._mute, self._started = mute, False

    def open(self) -> tuple[int, ...]:
        """Return the descriptors of the streams that are still open."""
        return tuple(self._streams)

    def read(self, descriptor: int) -> None:
        """Read once from a stream that is ready, and pass it on; at its end close it."""
        number, stream = self._streams[descriptor]
        piece = stream.read(_PIECE)
        if not piece:
            del self._streams[descriptor]
            stream.close()
        elif not self._mute and self._container_started():
            self._output(piece, number)

    def idle(self) -> None:
        """Note that nothing came for a while."""
        if self._started and self.process.stdout is not None:
            self._output(b"", STDOUT)

    def close(self) -> None:
        """Close the streams that are still open."""
        while self._streams:
            self._streams.popitem()[1][1].close()

    def _container_started(self) -> bool:
        while not self._started and not (ended := self.process.poll() is not None):
            self._started = self._pid_file.exists()
            if not self._started:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(_MOMENT)
        self._started = self._started or (ended and self._pid_file.exists())
        return self._started


def to_our_stderr(piece: bytes, _number: int) -> None:
    """Write to our standard error; where no process reads it any more, the container is not to be held up."""
    left = memoryview(piece)
    with suppress(OSError):
        while left:
            left = left[os.write(2, left) :]
