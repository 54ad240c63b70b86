"""Where the output of a container goes, and what its runtime prints does not."""

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prestow.runtime.output import LastLines

if TYPE_CHECKING:
    from io import FileIO

_MOMENT = 0.005  # seconds


class Sink:
    """Takes what comes from the container; what the runtime itself says when it starts none is in its log, too.

    The runtime's words and the container's come by the same pipe. Before there is a pid file, nothing of it is passed
    on: either the file appears at once, or the runtime ends.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pid_file: Path,
        output: Callable[[bytes], None],
        last: LastLines,
        *,
        mute: bool,
    ) -> None:
        """Pass on to ``output``; with ``mute`` nothing, as a container with a terminal has no other stream."""
        self.process, self.stream = process, cast("FileIO", process.stdout or process.stderr)
        self._pid_file, self._output, self._last = pid_file, output, last
        self._mute, self._started = mute, False

    def __call__(self, piece: bytes) -> None:
        """Take a piece."""
        if piece and not self._mute and self._container_started():
            self._last(piece)
            self._output(piece)

    def idle(self) -> None:
        """Tell that nothing came for a while."""
        if self._started and self.process.stdout is not None:
            self._output(b"")

    def _container_started(self) -> bool:
        while not self._started and not (ended := self.process.poll() is not None):
            self._started = self._pid_file.exists()
            if not self._started:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(_MOMENT)
        self._started = self._started or (ended and self._pid_file.exists())
        return self._started


def to_our_stderr(piece: bytes) -> None:
    """Write to our standard error; where nobody reads it any more, the container is not to be held up."""
    left = memoryview(piece)
    with suppress(OSError):
        while left:
            left = left[os.write(2, left) :]
