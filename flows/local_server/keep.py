"""A run keeps its server: one that dies in the middle is started again, where Prefect's client looks for it.

Prefect's client asks again for half a minute while no server answers, and sends what it was not told of as received.
So a run whose server is killed goes on, and its record is complete in the end.
"""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from flows.local_server.address import port_reserved
from flows.local_server.ensure import ensure
from flows.local_server.record import Record, Server, living
from prestow.errors import PrestowError


@contextmanager
def supervised(home: Path) -> Iterator[Server]:
    """Yield the store's server, started if need be, and have it replaced if it dies while this block lasts.

    Raises:
        UnavailableError: it did not come up.
        PreconditionError: others may write to its folder.
        StorageError: the folder cannot be made.
    """
    server = ensure(home)
    record = living(home)
    with ExitStack() as around:
        if record is not None and around.enter_context(port_reserved(server.directory, record)):
            over, ending = os.pipe()
            around.callback(os.close, over)
            watcher = threading.Thread(target=_watch, args=(home, record, over), name="keep the server", daemon=True)
            watcher.start()
            around.callback(watcher.join)
            around.callback(os.close, ending)
        yield server


def _watch(home: Path, record: Record | None, over: int) -> None:
    """Start another server each time that the last one ends, until the other end of ``over`` is closed."""
    with suppress(PrestowError):  # without a server the run ends as it can
        while record is not None and not _outlived(record, over):
            ensure(home)
            record = living(home)


def _outlived(record: Record, over: int) -> bool:
    """Wait for the end of the block, or of the server; gives whether it was that of the block."""
    try:
        process = os.pidfd_open(record.process.pid)
    except ProcessLookupError:
        return False
    try:
        poll = select.poll()
        poll.register(over, select.POLLHUP)
        poll.register(process, select.POLLIN)
        alive = record.process.alive()  # else the number may be another process's by now
        return over in dict(poll.poll(None if alive else 0))
    finally:
        os.close(process)
