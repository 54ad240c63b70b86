"""A sink in a thread of its own, so that the next piece is made while the last one is hashed and written.

Only a few pieces wait in between: a slow disk slows down whoever makes them, and memory stays flat.
"""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_WAITING = 4


class Overlapped:
    """Passes pieces on to a sink, in order; leave the context to know that all have arrived."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        """Start the thread."""
        self._sink = sink
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def write(self, piece: bytes) -> None:
        """Hand a piece over; raises what the sink raised for an earlier one."""
        if self._failure is not None:
            raise self._failure
        self._pieces.put(piece)

    def __enter__(self) -> Self:
        """Give the sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the sink; raises what it raised, unless something else is being raised."""
        self._pieces.put(None)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _pass_on(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._failure is None:  # after a failure pieces are only taken away, so that nobody waits for ever
                try:
                    self._sink(piece)
                except BaseException as error:  # noqa: BLE001 - raised again in the other thread
                    self._failure = error
