"""Which mirrors are set aside, known to all processes of a store.

    <home>/registries/<hash>.json      {"origin": …, "until": …, "delay": …, "why": …}; a mirror that failed

A mirror that fails is not asked for a while: 30 s, then twice as long for each failure in a row, up to ten minutes.
Its first success removes the file. Times are of the wall clock, since they are shared and outlive a boot; one that
lies further ahead than any delay is not believed. The files may be deleted at any time; one that makes no sense counts
as none, and a disk that takes no file costs a question to a dead mirror, no more.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from prestow.content.disk import replace_file
from prestow.errors import PrestowError, printable

_log = logging.getLogger(__name__)

SHORTEST, LONGEST = 30.0, 600.0  # seconds
_LARGEST = 4096
_WHY = 400  # characters


@dataclass(frozen=True, slots=True)
class Aside:
    """A mirror that is set aside.

    Attributes:
        origin: ``scheme://host[:port]``.
        until: when it may be asked again, in seconds since 1970.
        delay: seconds for which it was set aside.
        why: how it failed.
    """

    origin: str
    until: float
    delay: float
    why: str


class Health:
    """The mirrors of one store that are set aside; safe for threads and processes.

    Args:
        directory: where the files are; made when it is first needed.
        clock: seconds since 1970.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Read nothing yet."""
        self._directory = directory
        self._clock = clock

    def aside(self, origin: str) -> Aside | None:
        """Return the record of a mirror that is set aside now, else ``None``."""
        found = self._read(origin)
        return found if found is not None and found.until > self._clock() else None

    def every(self) -> tuple[Aside, ...]:
        """Return all mirrors that are set aside now, by origin."""
        paths = self._directory.glob("*.json")
        found = [record for path in paths if (record := self._parse(path)) and record.until > self._clock()]
        return tuple(sorted(found, key=lambda record: record.origin))

    def set_aside(self, origin: str, why: str) -> Aside:
        """Set a mirror aside: for longer than before, unless another process has just done so."""
        before = self._read(origin)
        if before is not None and before.until > self._clock():
            return before
        delay = min(before.delay * 2, LONGEST) if before is not None else SHORTEST
        record = Aside(origin, self._clock() + delay, delay, printable(why, _WHY))
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            replace_file(self._path(origin), json.dumps(asdict(record)).encode(), durable=False)
        except (OSError, PrestowError) as error:
            _log.debug("cannot record that %s is set aside: %s", origin, error)
        _log.warning("mirror %s is set aside for %.0f s: %s", origin, delay, record.why)
        return record

    def succeed(self, origin: str) -> None:
        """Take note that a mirror answers."""
        try:
            self._path(origin).unlink(missing_ok=True)
        except OSError as error:
            _log.debug("cannot remove %s: %s", self._path(origin), error)

    def _path(self, origin: str) -> Path:
        return self._directory / f"{sha256(origin.encode()).hexdigest()[:32]}.json"

    def _read(self, origin: str) -> Aside | None:
        found = self._parse(self._path(origin))
        return found if found is not None and found.origin == origin else None

    def _parse(self, path: Path) -> Aside | None:
        """Return what a file says; ``None`` for one that is not there, or makes no sense."""
        try:
            with path.open("rb") as file:
                record = Aside(**json.loads(file.read(_LARGEST)))
            believable = SHORTEST <= record.delay <= LONGEST and record.until - self._clock() <= LONGEST
        except (OSError, ValueError, TypeError):
            return None
        return record if believable else None
