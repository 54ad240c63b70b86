"""Credential helpers: programs ``docker-credential-NAME`` that keep secrets (docker's protocol).

    get     stdin   the server's name
            stdout  {"ServerURL": …, "Username": …, "Secret": …}, exit status 0;
                    or "credentials not found in native keychain", exit status 1
    store   stdin   {"ServerURL": …, "Username": …, "Secret": …}
    erase   stdin   the server's name

The name is checked, so that it can name no other program; no shell takes part; time and output are bounded; and its
words are never shown, for they may be the secret.
"""

import json
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress

from prestow.errors import InvalidError, NotFoundError, UnavailableError, printable
from prestow.oci.document import Record, load

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NOT_KEPT = b"credentials not found"
_LARGEST = 1 << 20
_FIELDS = frozenset({"ServerURL", "Username", "Secret"})


def ask_helper(name: str, server: str, *, timeout: float) -> tuple[str, str] | None:
    """Return user name and secret for ``server``, ``None`` where the helper has none.

    Raises:
        InvalidError: a name that no helper can have, or an answer outside the protocol.
        NotFoundError: the helper is not installed.
        UnavailableError: it failed, or took longer than ``timeout`` seconds.
    """
    status, output = _run(name, "get", server.encode(), timeout)
    if len(output) > _LARGEST:
        raise InvalidError(f"credential helper {name!r}: answered more than {_LARGEST} bytes")
    if status != 0:
        if _NOT_KEPT in output:
            return None
        raise UnavailableError(f"credential helper {name!r} failed for {server} with status {status}; run it by hand")
    what = f"answer of credential helper {name!r}"
    try:
        record = Record.of(load(output, what), what, _FIELDS)
        return record.text("Username"), record.text("Secret")
    except InvalidError:
        raise InvalidError(f"{what}: expected a JSON object with Username and Secret") from None


def store_at_helper(name: str, server: str, username: str, secret: str, *, timeout: float) -> None:
    """Let a helper keep a user name and a secret.

    Raises:
        InvalidError: a name that no helper can have.
        NotFoundError: the helper is not installed.
        UnavailableError: it failed, or took longer than ``timeout`` seconds.
    """
    document = {"ServerURL": server, "Username": username, "Secret": secret}
    status, _ = _run(name, "store", json.dumps(document).encode(), timeout)
    if status != 0:
        raise UnavailableError(f"credential helper {name!r} did not store the login, status {status}; run it by hand")


def erase_at_helper(name: str, server: str, *, timeout: float) -> None:
    """Let a helper remove what it has for a server; raises as :func:`store_at_helper`."""
    status, output = _run(name, "erase", server.encode(), timeout)
    if status != 0 and _NOT_KEPT not in output:
        raise UnavailableError(f"credential helper {name!r} did not erase the login, status {status}; run it by hand")


def _run(name: str, action: str, said: bytes, timeout: float) -> tuple[int, bytes]:
    """Run a helper; give its status, negative if it had to be killed, and its output, cut one byte beyond the limit."""
    if not _NAME.fullmatch(name):
        raise InvalidError(f"credential helper {printable(name)!r}: expected letters, digits, _ and -")
    program = f"docker-credential-{name}"
    question = _pipe_with(said)
    try:
        process = subprocess.Popen(
            [program, action],
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise NotFoundError(f"credential helper {program!r} is not on PATH; install it or remove it") from error
    except OSError as error:
        raise UnavailableError(f"credential helper {program!r} does not start: {error.strerror}") from error
    finally:
        os.close(question)
    # What the helper itself started has the pipe, too: only the end of the whole group is sure to end the read.
    watchdog = threading.Timer(timeout, _kill_group, [process.pid])
    watchdog.start()
    with process:
        try:
            output = process.stdout.read(_LARGEST + 1) if process.stdout else b""
            if len(output) <= _LARGEST:
                _await_exit(process.pid)
        finally:
            watchdog.cancel()
            watchdog.join()
            _kill_group(process.pid)
    return process.returncode, output


def _pipe_with(data: bytes) -> int:
    """Return the reading end of a pipe that holds ``data``, which must fit, so that no thread has to write it."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def _await_exit(pid: int) -> None:
    """Wait until the helper has ended, and leave its status to be collected: until then its number is its own."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
