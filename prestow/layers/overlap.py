"""Pieces made in a thread of their own: the next one is made while the last one is hashed, written and scanned.

Only a few pieces wait in between: a slow disk slows down whoever makes them, and memory stays flat.
"""

import queue
import threading
from collections.abc import Iterator
from typing import Self

_WAITING = 2


class Overlapped:
    """Iterates over pieces; leave the context to know that no more of them are made."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Start the thread."""
        self._pieces = pieces
        self._made: queue.Queue[bytes | None] = queue.Queue(_WAITING)  # None is the end
        self._failure: BaseException | None = None
        self._open = True
        self._left = False
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces in order, then raise what making them raised."""
        while (piece := self._take()) is not None:
            yield piece
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        """Return the pieces."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the piece that is being made, the last one."""
        self._left = True
        while self._open:
            self._take()
        self._thread.join()

    def _take(self) -> bytes | None:
        piece = self._made.get()
        self._open = piece is not None
        return piece

    def _make(self) -> None:
        try:
            for piece in self._pieces:
                self._made.put(piece)
                if self._left:
                    break
        except BaseException as error:  # noqa: BLE001 - raised again in the other thread
            self._failure = error
        self._made.put(None)
