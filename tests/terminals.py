"""Real terminals: a command's streams on a pseudo-terminal of some width, and what was written there."""

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.flows.cli.conftest import Prestow
from tests.processes import Child

_LINES = 24


class Terminal:
    """A terminal, and what was written to it so far; ``theirs`` is for the process that writes."""

    def __init__(self, width: int) -> None:
        """Open it."""
        self.ours, self.theirs = pty.openpty()
        self.written = b""
        self.resize(width)

    def resize(self, width: int) -> None:
        """Make it so many columns wide."""
        self.width = width
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, width, 0, 0))

    def forget(self) -> None:
        """Drop what was written so far."""
        self.written = b""

    @property
    def text(self) -> str:
        """What was written."""
        return self.written.decode(errors="replace")

    def wait_for(self, pattern: str, flags: int = 0) -> re.Match[str]:
        """Read until a pattern was written, and return the match."""
        while (found := re.search(pattern, self.text, flags)) is None:
            assert self.read(), f"{pattern} is not in {self.text[-1000:]}"
        return found

    def read(self) -> bool:
        """Read what comes next; False at the end."""
        try:
            piece = os.read(self.ours, 1 << 16)
        except OSError:  # the kernel's word for it
            return False
        self.written += piece
        return bool(piece)


@contextmanager
def on_a_terminal(
    prestow: Prestow, *arguments: str, width: int = 100, term: str = "xterm", **env: str
) -> Iterator[tuple[Terminal, Child[str]]]:
    """Run a command whose standard error is a terminal, and read that to its end after the block."""
    terminal = Terminal(width)
    try:
        with prestow.start(*arguments, env={"TERM": term, "COLUMNS": "", **env}, stderr=terminal.theirs) as process:
            os.close(terminal.theirs)
            yield terminal, process
            while terminal.read():
                pass
    finally:
        os.close(terminal.ours)


def everything(terminal: int) -> str:
    """Read what is shown until no process has the terminal open any more."""
    pieces: list[bytes] = []
    with os.fdopen(terminal, "rb", buffering=0) as stream, suppress(OSError):  # the kernel's word for the end
        while piece := stream.read(1 << 16):
            pieces.append(piece)
    return b"".join(pieces).decode()
