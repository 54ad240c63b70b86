"""A client's socket: each wait has a deadline, each answer a least rate."""

import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from prestow.registry.server.limits import Limits

_PIECE = 1 << 14
_AHEAD = 2 << 20  # bytes that the kernel takes before it can send them
_DROP = struct.pack("ii", 1, 0)  # on closing, the kernel drops what it still has and resets the connection


class Peer:
    """The other end of one connection.

    The rate is that of acknowledged bytes, for the kernel takes some that the client does not.

    Args:
        connection: the socket, which belongs to this object from now on.
        limits: the window and the rate.
    """

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        """Set the socket up."""
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _AHEAD)
        # The kernel ends a connection whose last bytes are not taken after we have moved on.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.window * 1000))
        self._connection = connection
        self._limits = limits

    def receive(self, deadline: float) -> bytes:
        """Return the bytes that have come; none at the end of the connection.

        Raises:
            TimeoutError: nothing came before ``deadline``, a time of the monotonic clock.
            OSError: the connection broke.
        """
        while True:
            with suppress(BlockingIOError):
                return self._connection.recv(_PIECE)
            if time.monotonic() >= deadline:
                raise TimeoutError("no request within the deadline")
            self._wait(select.POLLIN, deadline)

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Send bytes; with ``more``, those of a file follow and may share a packet with them.

        Raises:
            TimeoutError: the client takes them too slowly.
            OSError: the connection broke.
        """
        view, flags = memoryview(data), socket.MSG_MORE if more else 0
        self._transfer(lambda done: self._connection.send(view[done:], flags), len(data))

    def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        """Send the bytes of a file from ``start`` to ``end``.

        Raises:
            TimeoutError: the client takes them too slowly.
            OSError: the connection broke, or the file is shorter.
        """
        target, source = self._connection.fileno(), file.fileno()
        self._transfer(lambda done: os.sendfile(target, source, start + done, end - start - done), end - start)

    def end(self, how: int) -> None:
        """Shut the connection down, ``socket.SHUT_…``; safe from any thread, at any time."""
        with suppress(OSError):  # it has ended by itself
            self._connection.shutdown(how)

    def close(self) -> None:
        """Close the socket; the kernel delivers what it still has."""
        self._connection.close()

    def _transfer(self, step: Callable[[int], int], size: int) -> None:
        """Call ``step`` with the bytes done until it is ``size``."""
        done, since = 0, time.monotonic()
        mark = -self._owed()
        while done < size:
            try:
                count = step(done)
            except BlockingIOError:
                self._wait(select.POLLOUT, since + self._limits.window)
            else:
                if not count:
                    raise OSError(f"the file ended {size - done} bytes early")
                done += count
            if time.monotonic() - since >= self._limits.window:
                mark, since = self._check(done, mark), time.monotonic()

    def _check(self, done: int, mark: int) -> int:
        owed = self._owed()
        if owed and done - owed - mark < self._limits.window * self._limits.rate:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
            raise TimeoutError(f"the client took {done - owed - mark} bytes in {self._limits.window:.0f} s")
        return done - owed

    def _owed(self) -> int:
        """Return the bytes that were sent and not acknowledged."""
        (count,) = struct.unpack("i", fcntl.ioctl(self._connection, termios.TIOCOUTQ, bytes(4)))
        return int(count)

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._connection, event)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
