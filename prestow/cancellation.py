"""Cancelling: one token that long work watches, and that whoever is told to end it sets.

    with watched(Token()) as token:                 # the run; another thread, or a signal, calls token.cancel("…")
        for chunk in chunks: check(); …             # the work; raises CancelledError soon after

The token travels in a context variable, so whatever starts a thread for part of the work copies the context into it
(``contextvars.copy_context``). Work that cannot be cancelled sees a token that is never set. What is complete when the
error is raised stays in the store, as after a crash.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prestow.errors import CancelledError

PROMPT = 0.25
"""Seconds that a wait for something else may last before it looks at the token again."""


class Token:
    """Whether the work is to end, and why; safe for threads. It is set once, and for good."""

    def __init__(self) -> None:
        """Let the work go on."""
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._reason = ""
        self._parts: list[Token] = []

    def cancel(self, reason: str) -> None:
        """End the work and all of its parts; ``reason`` is a sentence for a person, and the first one counts."""
        with self._lock:
            self._reason = self._reason or reason
            self._set.set()
            parts = tuple(self._parts)
        for part in parts:
            part.cancel(reason)

    def part(self) -> "Token":
        """Return a token for part of the work, which ends with the whole of it or by itself."""
        part = Token()
        with self._lock:
            self._parts.append(part)
            ended = self._set.is_set()
        if ended:
            part.cancel(self._reason)
        return part

    @property
    def reason(self) -> str:
        """Why the work is to end; empty as long as it is not."""
        return self._reason

    @property
    def cancelled(self) -> bool:
        """Whether the work is to end."""
        return self._set.is_set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            CancelledError: the work is to end.
        """
        if self._set.is_set():
            raise CancelledError(self._reason)

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            CancelledError: the work is to end.
        """
        self._set.wait(seconds)
        self.check()


_token: ContextVar[Token | None] = ContextVar("cancellation", default=None)


@contextmanager
def watched(token: Token) -> Iterator[Token]:
    """Let what runs in this block watch ``token``."""
    before = _token.set(token)
    try:
        yield token
    finally:
        _token.reset(before)


def current() -> Token | None:
    """Return the token of the work that this is part of; None where it cannot be cancelled."""
    return _token.get()


def check() -> None:
    """Go on, or not.

    Raises:
        CancelledError: the work that this is part of is to end.
    """
    if (token := _token.get()) is not None:
        token.check()


def pause(seconds: float) -> None:
    """Let time pass.

    Raises:
        CancelledError: the work that this is part of is to end.
    """
    (_token.get() or Token()).wait(seconds)
