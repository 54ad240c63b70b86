"""The hosts of a fleet file, with those that another file, a command, or the pool's workers list."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from prestow.errors import ExhaustedError, InvalidError, NotFoundError, UnavailableError, printable
from prestow.fleet.document import MOST_BYTES, parse, read
from prestow.fleet.file import FleetFile, Host, HostsCommand, HostsFile
from prestow.fleet.inventory import HostList, combine

_SHOWN = 500  # characters of a command's complaint
_CHUNK = 1 << 16


def read_hosts(path: Path, file: FleetFile, workers: Callable[[], Iterable[str]]) -> tuple[Host, ...]:
    """Return all hosts of a fleet file, in the order of the file.

    Args:
        path: of the fleet file: paths in it count from its directory, in which its commands run as well.
        file: what is in it.
        workers: returns the names of the pool's workers; called only if the file takes hosts from there.

    Raises:
        NotFoundError: a file of hosts does not exist.
        InvalidError: a list of hosts breaks a rule, or a host is named twice.
        UnavailableError: a command fails or takes too long.
        ExhaustedError: a command prints too much.
    """
    return combine(file, partial(_read, path.parent), workers)


def _read(directory: Path, entry: HostsFile | HostsCommand) -> tuple[Host, ...]:
    if isinstance(entry, HostsFile):
        try:
            return read(directory / entry.file, HostList).root
        except NotFoundError as error:
            raise NotFoundError(f"{error}; correct `file` in the fleet file, or write the file") from error
    return parse(_output(entry, directory), HostList, _called(entry)).root


def _called(entry: HostsCommand) -> str:
    return f"output of `{printable(shlex.join(entry.command))}`"


def _output(entry: HostsCommand, directory: Path) -> bytes:
    """Run a command and return what it prints; its whole process group ends with it."""
    name = f"command `{printable(shlex.join(entry.command))}`"
    try:
        process = subprocess.Popen(
            entry.command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidError(f"{name} does not start: {reason}; correct `command` in the fleet file") from error
    expired = threading.Event()

    def end() -> None:
        expired.set()
        _kill_group(process.pid)

    complaint = bytearray()
    watchdog = threading.Timer(entry.timeout, end)
    drain = threading.Thread(target=_drain, args=(process.stderr, complaint))
    watchdog.start()
    drain.start()
    with process:
        try:
            output = process.stdout.read(MOST_BYTES + 1) if process.stdout else b""
            if len(output) <= MOST_BYTES:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays its own until `with` ends
        finally:
            watchdog.cancel()
            watchdog.join()
            _kill_group(process.pid)
            drain.join()
    if expired.is_set():
        raise UnavailableError(f"{name} took longer than {entry.timeout:g} s; make it quicker, or raise its `timeout`")
    if len(output) > MOST_BYTES:
        raise ExhaustedError(f"{name} prints more than {MOST_BYTES >> 20} MiB; print a list of hosts only")
    if process.returncode:
        said = printable(bytes(complaint).decode("utf-8", "replace").strip(), _SHOWN) or "nothing on standard error"
        raise UnavailableError(f"{name} failed with status {process.returncode}: {said}; run it by hand to see why")
    return output


def _drain(stream: IO[bytes] | None, first: bytearray) -> None:
    """Read all of a stream, so that its writer never waits, and return its beginning."""
    while stream is not None and (chunk := stream.read(_CHUNK)):
        first += chunk[: max(0, _SHOWN * 4 - len(first))]


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
