"""Every error that prestow raises, classed by what the caller can do about it.

    PrestowError
    ├── InvalidError          the input is wrong: correct it
    ├── NotFoundError         it is not there: name another, or pull it
    ├── AlreadyExistsError    it is there: for an idempotent step this is success
    ├── MismatchError         bytes are not what their digest, size or diff ID says
    ├── PreconditionError     not in this state: do the other thing first
    ├── UnauthorizedError     the registry wants other credentials
    ├── UnavailableError      the other side or a resource is busy or down: try again (``retry_after`` seconds)
    │   └── UnknownHostError  no server has this name: try again, but not for long
    ├── UnsupportedError      well formed, but not something that works here
    ├── ExhaustedError        a limit or the disk is full: the message names the limit and its setting
    │   └── RefusedError      images of a set that do not fit together; nothing of them was fetched
    ├── StorageError          the store's own disk or database failed
    ├── RuntimeFailedError    runc could not do what it was asked
    ├── ContainerFailedError  a container's process ended with a status other than 0
    └── CancelledError        it was ended: what was complete stays, run it again to resume

Whether a retry can help is the error's own knowledge: ``transient``. A message says what, which, expected and
found, and what to do; text that came from the other side goes through :func:`printable` first.
"""

from collections.abc import Iterable
from typing import ClassVar


class PrestowError(Exception):
    """Base of all expected errors; ``str()`` of it is one sentence for a person.

    Attributes:
        transient: whether the same call may succeed later.
        attempts: how often it is tried at most, where that is less often than usual.
        exit_code: status with which the command line ends.
        retry_after: seconds that the other side asked to wait, where it did.
    """

    transient: ClassVar[bool] = False
    attempts: ClassVar[int | None] = None
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep the sentence, and the wait that the other side asked for."""
        super().__init__(message)
        self.retry_after = retry_after


class InvalidError(PrestowError):
    """The input breaks a rule of its grammar or its specification."""

    exit_code = 2


class NotFoundError(PrestowError):
    """The thing that was named does not exist."""

    exit_code = 3


class AlreadyExistsError(PrestowError):
    """The thing to be made exists already."""

    exit_code = 4


class MismatchError(PrestowError):
    """Bytes differ from what their digest, size or diff ID promises."""

    exit_code = 5


class PreconditionError(PrestowError):
    """The operation is not allowed in the present state."""

    exit_code = 6


class UnauthorizedError(PrestowError):
    """The registry refused the credentials, or the lack of them."""

    exit_code = 7


class UnavailableError(PrestowError):
    """The other side, or a resource that others hold, cannot serve now."""

    transient = True
    exit_code = 8


class UnknownHostError(UnavailableError):
    """DNS knows no server of this name; it may soon, where a host or its network has just started."""

    attempts = 3


class UnsupportedError(PrestowError):
    """Well formed, but not supported here."""

    exit_code = 9


class ExhaustedError(PrestowError):
    """A limit was reached; the message names the limit, the value and the setting."""

    exit_code = 10


class RefusedError(ExhaustedError):
    """The images that an order wants do not fit on the disk; no layer of them was fetched."""


class StorageError(PrestowError):
    """The store's disk or database failed in a way that no other class describes."""

    exit_code = 11


class RuntimeFailedError(PrestowError):
    """The container runtime failed before or instead of the container's process."""

    exit_code = 125


class ContainerFailedError(PrestowError):
    """A container's process ended with a status other than 0.

    Attributes:
        status: the process's exit status; 128 and the signal's number where a signal ended it.
        ran: what the flow would have given, a ``flows.forms.results.Ran``.
    """

    def __init__(self, message: str, *, status: int, ran: object = None) -> None:
        """Keep the sentence, the status and the result."""
        super().__init__(message)
        self.status = status
        self.ran = ran


class CancelledError(PrestowError):
    """A person or a signal ended the work before it was done."""

    exit_code = 130


def printable(text: str | bytes, limit: int = 200) -> str:
    """Return foreign text as one harmless line: control characters escaped, at most ``limit`` characters."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return line if len(line) <= limit else line[:limit] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?``, the end of an error, with the nearest known word; empty if none is near."""
    from difflib import get_close_matches  # for an error only

    spellings = {each.lstrip("-").lower(): each for each in known}
    near = get_close_matches(word.lstrip("-").lower(), spellings, 1)
    return f"; did you mean {spellings[near[0]]}?" if near else ""
