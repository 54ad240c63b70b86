"""What one server of a registry is asked to bear, shared by all layers, pulls and processes of a store.

    <home>/registries/<hash>/
      connection-0 … -7    locked by a request under way: so many at one time
      rest                 {"server": …, "asked": …, "until": …, "why": …}; the server asked to be left alone
      rest.lock            locked while that is replaced
      first                locked by the one request with which it begins after that
      rate                 moment at which all bytes received so far are paid for; where there is a rate

A 429 or 503 with ``Retry-After`` (RFC 9110, 10.2.3) stops everything for that server: until then a request fails here,
before it is sent, with the seconds that are left. Then one request is sent, and the others wait for its answer: it ends
the rest, or begins the next one. Locks end with their process, however it ends. Moments are of the wall clock, since
they are shared and outlive a boot; one that lies further ahead than any wait is not believed. A disk that takes none of
these files costs the limits, and no pull.
"""

import fcntl
import json
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Condition

from prestow.cancellation import PROMPT, check, pause
from prestow.content.descriptors import opened
from prestow.content.disk import replace_file
from prestow.content.lock import FileLock
from prestow.errors import PrestowError, UnavailableError, printable
from prestow.registry.hosts import Endpoint
from prestow.registry.statuses import LONGEST_WAIT, PATIENCE

_log = logging.getLogger(__name__)

_LARGEST = 4096
_WHY = 400  # characters
_POLL = 0.05  # seconds between two looks whether another process has let a connection go
_LOCKED_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MOMENT = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Rest:
    """The time for which a server asked to be left alone.

    Attributes:
        server: ``host[:port]``.
        asked: seconds that it asked for.
        until: when it may be asked again, in seconds since 1970.
        why: its refusal, in a sentence.
    """

    server: str
    asked: float
    until: float
    why: str

    def error(self, now: float) -> UnavailableError:
        """Return the error of a request that is not sent, given the seconds since 1970."""
        end = (
            f", until {datetime.fromtimestamp(self.until, UTC):%Y-%m-%d %H:%M:%S} UTC" if self.asked > PATIENCE else ""
        )
        return UnavailableError(
            f"{self.server} asked for {self.asked:.0f} s{end}: {self.why}", retry_after=max(self.until - now, 0.0)
        )


class Turn:
    """A request under way: one of the connections to a server."""

    def __init__(self, pacing: "Pacing", endpoint: Endpoint, first: FileLock | None) -> None:
        """Keep the lock of the first request after a rest, where it is that."""
        self._pacing, self._endpoint, self._first = pacing, endpoint, first

    def accepted(self) -> None:
        """End the rest that the server asked for: it answers again."""
        if self._first is not None:
            self._pacing.end_rest(self._endpoint)
            self._first.release()


class Pacing:
    """The limits of all servers; safe for threads and processes.

    Args:
        directory: where the files are; made when it is first needed. Without one there are no limits.
        clock: seconds since 1970.
    """

    def __init__(self, directory: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Read nothing yet."""
        self._directory = directory
        self._clock = clock
        self._changed = Condition()
        self._here: dict[str, int] = {}

    @contextmanager
    def turn(self, endpoint: Endpoint) -> Iterator[Turn]:
        """Hold one of the connections to a server for as long as the block lasts; waits for a free one.

        Raises:
            UnavailableError: the server asked to be left alone.
            CancelledError: the work that waits is to end.
        """
        folder = self._folder(endpoint)
        with self._own(endpoint, folder), self._shared(endpoint, folder), self._first(endpoint, folder) as first:
            yield Turn(self, endpoint, first)

    def resting(self, endpoint: Endpoint) -> Rest | None:
        """Return the rest that a server asked for, if it is not over."""
        found = self._rest(endpoint)
        return found if found is not None and found.until > self._clock() else None

    def every(self) -> tuple[Rest, ...]:
        """Return all rests that are not over, by server."""
        paths = self._directory.glob("*/rest") if self._directory is not None else ()
        found = [rest for path in paths if (rest := self._parse(path)) and rest.until > self._clock()]
        return tuple(sorted(found, key=lambda rest: rest.server))

    def rest(self, endpoint: Endpoint, seconds: float, why: str) -> UnavailableError:
        """Leave a server alone for as long as it asked, and return the error that says so.

        Answers that were under way may ask for the same again: then the first of them is quoted.
        """
        folder, now = self._folder(endpoint), self._clock()
        record = Rest(endpoint.name, seconds, now + seconds, printable(why, _WHY))
        if folder is not None:
            with _harmless(folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _locked(folder / "rest.lock"):  # or the shorter of two waits could replace the longer one
                    before = self.resting(endpoint)
                    if before is not None:
                        longer = before if before.asked >= seconds else record
                        record = replace(longer, until=max(before.until, record.until))
                    replace_file(folder / "rest", json.dumps(asdict(record)).encode(), durable=False)
        return record.error(now)

    def end_rest(self, endpoint: Endpoint) -> None:
        """Forget a rest that is over."""
        folder = self._folder(endpoint)
        if folder is not None and self.resting(endpoint) is None:
            with _harmless(folder):
                (folder / "rest").unlink(missing_ok=True)

    def paced(self, endpoint: Endpoint, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the bytes of an answer no faster than the server's rate allows, together with all other answers.

        Raises:
            CancelledError: the work that waits is to end.
        """
        folder = self._folder(endpoint)
        for chunk in chunks:
            if endpoint.rate is not None and folder is not None:
                pause(self._wait(folder, len(chunk) / endpoint.rate))
            yield chunk

    def _wait(self, folder: Path, seconds: float) -> float:
        """Book the time that bytes take, and return how long to wait until it begins."""
        begins = now = self._clock()
        with _harmless(folder), _locked(folder / "rate") as fd:
            raw = os.pread(fd, _MOMENT.size, 0)
            paid = _MOMENT.unpack(raw)[0] if len(raw) == _MOMENT.size else now
            begins = max(paid, now) if paid - now < PATIENCE else now
            os.pwrite(fd, _MOMENT.pack(begins + seconds), 0)
        return begins - now

    @contextmanager
    def _own(self, endpoint: Endpoint, folder: Path | None) -> Iterator[None]:
        """Hold one of the connections as far as this process goes: its threads wake each other."""
        origin = endpoint.base.origin
        with self._changed:
            while folder is not None and self._here.get(origin, 0) >= endpoint.connections:
                self._changed.wait(PROMPT)
                check()
                self._check(endpoint)
            self._here[origin] = self._here.get(origin, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._here[origin] -= 1
                self._changed.notify_all()  # some threads wait for another server

    @contextmanager
    def _shared(self, endpoint: Endpoint, folder: Path | None) -> Iterator[None]:
        """Hold one of the connections, among all processes."""
        lock: FileLock | None = None
        while folder is not None:
            self._check(endpoint)
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = _any_lock(folder, endpoint)
            except (OSError, PrestowError) as error:
                _log.debug("%s: its connections are not counted: %s", endpoint.name, error)
                break
            if lock is not None:
                break
            pause(_POLL)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    @contextmanager
    def _first(self, endpoint: Endpoint, folder: Path | None) -> Iterator[FileLock | None]:
        """Hold the lock of the first request after a rest, where one is over; the others wait for its answer."""
        lock: FileLock | None = None
        if folder is not None and self._rest(endpoint) is not None:
            patience = 2 * (endpoint.timeouts.blob if endpoint.timeouts else LONGEST_WAIT)
            lock = FileLock(folder / "first", timeout=patience, what=f"first request to {endpoint.name}")
        try:
            self._check(endpoint)
            if lock is not None and self._rest(endpoint) is None:
                lock.release()
                lock = None
            yield lock
        finally:
            if lock is not None:
                lock.release()

    def _check(self, endpoint: Endpoint) -> None:
        found = self.resting(endpoint)
        if found is not None:
            raise found.error(self._clock())

    def _rest(self, endpoint: Endpoint) -> Rest | None:
        """Return the rest of a server, over or not; ``None`` if the file is not there, or makes no sense."""
        folder = self._folder(endpoint)
        return None if folder is None else self._parse(folder / "rest")

    def _parse(self, path: Path) -> Rest | None:
        try:
            with path.open("rb") as file:
                record = Rest(**json.loads(file.read(_LARGEST)))
            believable = record.until - self._clock() <= LONGEST_WAIT and 0 <= record.asked <= LONGEST_WAIT
        except (OSError, ValueError, TypeError):
            return None
        return record if believable else None

    def _folder(self, endpoint: Endpoint) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / sha256(endpoint.base.origin.encode()).hexdigest()[:32]


def _any_lock(folder: Path, endpoint: Endpoint) -> FileLock | None:
    """Return one of the locks of a server's connections; ``None`` where others have them all."""
    for number in range(endpoint.connections):
        with suppress(UnavailableError):
            return FileLock(folder / f"connection-{number}", timeout=0, what=f"connection to {endpoint.name}")
    return None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file, made if missing, that other processes open one after the other."""
    with opened(path, _LOCKED_FILE) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd


@contextmanager
def _harmless(folder: Path) -> Iterator[None]:
    """Go on without the file that the disk does not take."""
    try:
        yield
    except (OSError, PrestowError) as error:
        _log.debug("%s: %s", folder, error)
