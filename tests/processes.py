"""Child processes of tests, which end with the block that uses them."""

import subprocess
from types import TracebackType
from typing import AnyStr

_PATIENCE = 20


class Child(subprocess.Popen[AnyStr]):
    """A process that is terminated when an exception ends its block.

    The standard library only waits for it: for ever, if the process needs what the rest of the block would have done.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for its end."""
        if kind is not None:
            self.terminate()
            try:
                self.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        super().__exit__(kind, error, traceback)
