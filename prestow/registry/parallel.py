"""A large blob over several connections: chunks, each a range of its own, hashed in order while they come.

    connection 1   ├── chunk 0 ──┤├── chunk 3 ──┤         a chunk that breaks off is resumed, alone
    connection 2   ├─ chunk 1 ─┤├──── chunk 4 ───
    connection 3   ├──── chunk 2 ────┤├─ chunk 5 ─        none begins more than a window ahead of the hash
                   ════ hashed ═══▶                       what an earlier process left, too, beside the fetch

Every byte is written at its place at once, so memory does not grow with the blob. The first chunk goes alone, and the
others follow when its server gave exactly the part it was asked for.
"""

import threading
from collections.abc import Callable
from contextvars import copy_context

from prestow.cancellation import Token, current, watched
from prestow.content.store import Progress, Writer
from prestow.errors import CancelledError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.registry.ranges import Parts, RangeError
from prestow.registry.source import Fetcher

_RESUMES = 5
_WRONG = 2  # parts that a server may get wrong
_WINDOW = 32  # chunks
_STEP = 8 << 20  # bytes that are hashed between two looks at what else has happened


def fetch_chunks(
    source: Fetcher,
    writer: Writer,
    descriptor: Descriptor,
    parts: Parts,
    progress: Progress,
    arrived: Callable[[int], None],
) -> bool:
    """Fetch what an ingest lacks of a blob; False if its servers give no proper parts: then it is to come as a whole.

    Args:
        source: where from.
        writer: of the ingest.
        descriptor: the blob.
        parts: how many of what length.
        progress: told of bytes as they come, by any thread.
        arrived: told of the offset up to which all bytes are there and hashed.

    Raises:
        UnavailableError: a chunk broke off too often, or the registry asked to be left alone.
        As :func:`prestow.registry.fetch.fetch_blob`.
    """
    return _Transfer(source, writer, descriptor, parts, progress).run(arrived)


class _Transfer:
    """One blob on its way."""

    def __init__(
        self, source: Fetcher, writer: Writer, descriptor: Descriptor, parts: Parts, progress: Progress
    ) -> None:
        self._source, self._writer, self._descriptor = source, writer, descriptor
        self._connections, self._window, self._progress = parts.connections, _WINDOW * parts.length, progress
        self._chunks = writer.scatter(descriptor.size, parts.length)
        self._left = self._chunks.missing()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)  # the hash waits for bytes, and for the end of all threads
        self._room = threading.Condition(self._lock)  # threads wait for the first part, and for the hash
        self._hashed = 0
        self._before = writer.offset  # bytes that an earlier process left
        self._working = 0
        self._begun = self._proven = False  # the first chunk was asked for; it comes
        self._wrong = 0
        self._failure: BaseException | None = None
        self._token = (current() or Token()).part()

    def run(self, arrived: Callable[[int], None]) -> bool:
        """Fetch and hash; the result is that of :func:`fetch_chunks`."""
        threads: list[threading.Thread] = []
        self._working = self._connections
        try:
            for _ in range(self._connections):
                name = f"part of {self._descriptor.digest.short}"
                thread = threading.Thread(target=copy_context().run, args=(self._work,), name=name, daemon=True)
                thread.start()
                threads.append(thread)
            while self._waits():
                self._hashed = self._writer.catch_up(_STEP)
                arrived(self._hashed)
                with self._lock:
                    self._room.notify_all()
        finally:
            self._token.cancel("the transfer has ended")
            with self._lock:
                self._room.notify_all()
            for thread in threads:
                thread.join()
        if isinstance(self._failure, RangeError):
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def _waits(self) -> bool:
        """Wait for bytes to hash; False if there will be none."""
        with self._lock:
            while self._failure is None:
                if self._hashed < self._writer.offset:
                    return True
                if not self._working:
                    return False
                self._arrived.wait()
        return False

    def _work(self) -> None:
        """Fetch chunk after chunk, until there are no more or something failed."""
        try:
            with watched(self._token):
                while (chunk := self._next()) is not None:
                    self._fetch(chunk)
        except BaseException as error:  # noqa: BLE001 - it is raised by the thread that waits for this one
            with self._lock:
                ours = isinstance(error, CancelledError) and self._failure is not None
                self._failure = self._failure if ours else self._failure or error
            self._token.cancel("another part of the transfer failed")
        finally:
            with self._lock:
                self._working -= 1
                self._arrived.notify()
                self._room.notify_all()

    def _next(self) -> int | None:
        """Return the next chunk, once it is near enough to the hash; none but the first before that begins to come."""
        with self._lock:
            while self._begun and not self._proven:
                self._wait()
            self._begun = True
            chunk = next(self._left, None)
            while chunk is not None and self._chunks.span(chunk)[0] >= max(self._hashed, self._before) + self._window:
                self._wait()
        return chunk

    def _wait(self) -> None:
        self._token.check()
        self._room.wait()
        self._token.check()

    def _fetch(self, chunk: int) -> None:
        """Fetch a chunk, resuming where it breaks off."""
        resumes = _RESUMES
        while (at := self._chunks.span(chunk)[0]) < (end := self._chunks.span(chunk)[1]):
            try:
                self._receive(chunk, at, end)
            except RangeError as error:
                with self._lock:
                    self._wrong += 1
                    if error.ignored or self._wrong >= _WRONG:
                        raise
            except UnavailableError as error:
                if error.retry_after is not None or not resumes or self._chunks.span(chunk)[0] == at:
                    raise
                resumes -= 1

    def _receive(self, chunk: int, at: int, end: int) -> None:
        """Receive the rest of a chunk over one connection."""
        what = f"layer {self._descriptor.digest}: bytes {at} to {end}"
        with self._source.fetch(self._descriptor, at, end) as pieces:
            with self._lock:
                self._proven = True
                self._room.notify_all()
            for piece in pieces:
                at += len(piece)
                if at > end:
                    raise RangeError(f"{what}: found more", ignored=False)
                self._writer.write_chunk(chunk, piece)
                self._progress(len(piece))
                with self._lock:
                    self._arrived.notify()
        if at < end:
            raise UnavailableError(f"{what}: ended at {at}")
