"""A run holds the server's address, so that the next server can have it and no other user can."""

import errno
import os
import socket
from pathlib import Path

import pytest

from flows.local_server.address import bind, is_reserved, port_reserved
from flows.local_server.record import Record
from prestow.content.process_identity import Process
from prestow.errors import StorageError

NOBODY = 65534


def _stranger(port: int) -> int:
    """Let another user try to get a port, or, where we cannot be one, somebody who shares none; gives the error."""
    child = os.fork()
    if child == 0:
        if root := os.geteuid() == 0:
            os.setuid(NOBODY)
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, root)
        try:
            taken.bind(("127.0.0.1", port))
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_address_that_is_held_is_the_next_server_s_alone(tmp_path: Path) -> None:
    first = bind(0)
    first.listen()
    record = Record(first.getsockname()[1], "a:b", Process.current(), ready=True)
    assert not is_reserved(tmp_path)

    with port_reserved(tmp_path, record) as holds:
        assert holds
        assert is_reserved(tmp_path)
        first.close()
        assert _stranger(record.port) == errno.EADDRINUSE
        with bind(record.port) as second:
            second.listen()
            assert second.getsockname() == ("127.0.0.1", record.port)
    assert not is_reserved(tmp_path)
    assert (tmp_path / "server.users").stat().st_mode & 0o777 == 0o600


def test_the_address_of_a_server_that_has_ended_is_not_held(tmp_path: Path) -> None:
    with bind(0) as taken:
        port = taken.getsockname()[1]
    me = Process.current()
    record = Record(port, "a:b", me._replace(started=me.started - 1), ready=True)
    with port_reserved(tmp_path, record) as holds:
        assert not holds
        assert not is_reserved(tmp_path)


def test_an_address_that_somebody_else_has_is_not_held(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with port_reserved(tmp_path, Record(port, "a:b", Process.current(), ready=True)) as holds:
            assert not holds
        with pytest.raises(OSError, match="in use"):
            bind(port)


def test_a_free_port_is_never_one_that_is_shared() -> None:
    taken = [bind(0) for _ in range(200)]
    assert len({each.getsockname()[1] for each in taken}) == 200
    for each in taken:
        each.close()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "server.users").mkdir()
    with bind(0) as taken:
        record = Record(taken.getsockname()[1], "a:b", Process.current(), ready=True)

        with pytest.raises(StorageError, match=r"server\.users"), port_reserved(tmp_path, record):
            pass
