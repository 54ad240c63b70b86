"""Something that a process has once, for as long as a thread in it uses it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Opened by the first block that uses it, and closed by the last, in whatever threads these are."""

    def __init__(self) -> None:
        """Be closed."""
        self._lock = threading.Lock()
        self._users = 0
        self._open: tuple[ExitStack, T] | None = None

    @contextmanager
    def shared(self, opening: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Use it in this block; ``opening`` makes it, unless another block has it open."""
        with self._lock:
            around, value = self._open or self._opened(opening)
            self._open = around, value
            self._users += 1
        try:
            yield value
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._open = None
                    around.close()

    @staticmethod
    def _opened(opening: Callable[[], AbstractContextManager[T]]) -> tuple[ExitStack, T]:
        around = ExitStack()
        return around, around.enter_context(opening())
