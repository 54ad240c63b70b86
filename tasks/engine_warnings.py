"""What the engine has to say while a run works: it waits for another process, a blob had rotted, something stayed.

The engine says it by Python's ``logging``, as warnings below ``prestow``. Here they reach whoever watches the run, and
its log at the API. A context variable tells whose they are: a run hears its own threads, and no other run's.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prestow.errors import printable
from tasks.run_log import pass_on

_ENGINE = logging.getLogger("prestow")
_LONGEST = 1000  # characters of what is said
_MOST = 10  # different warnings of a run that are marked to be shown once: other servers choose how many there are


class _Ear(logging.Handler):
    """Hears warnings of one run."""

    def __init__(self, listen: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._listen = listen
        self._once: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on what is said in this run."""
        if _ear.get() is self and self._is_news(record):
            self._listen(printable(record.getMessage(), _LONGEST))
            pass_on(record)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether a warning is to be shown: one that is marked ``once`` only the first time, and few of those."""
        if not getattr(record, "once", False):
            return True
        before, text = len(self._once), record.getMessage()
        if before < _MOST:
            self._once.add(text)
        return len(self._once) > before


_ear: ContextVar[_Ear | None] = ContextVar("ear", default=None)


@contextmanager
def heard(listen: Callable[[str], object]) -> Iterator[None]:
    """Let ``listen`` hear what the engine says in this block, and in threads that take its context along."""
    ear = _Ear(listen)
    before = _ear.set(ear)
    _ENGINE.addHandler(ear)
    try:
        yield
    finally:
        _ENGINE.removeHandler(ear)
        _ear.reset(before)
