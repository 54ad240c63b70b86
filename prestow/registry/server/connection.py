"""One connection: its requests, one after the other."""

import logging
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

import h11

from prestow import __version__
from prestow.errors import printable
from prestow.registry.pull_api import Answer, PullApi, error_answer
from prestow.registry.server.limits import Limits
from prestow.registry.server.peer import Peer
from prestow.registry.server.request import Inbox, RefusedError, Request

_log = logging.getLogger(__name__)

_LINGER = 2.0  # seconds for a client to read the last answer, before a reset could take it away


class Connection:
    """Answers a client.

    Args:
        api: the answers.
        peer: the client's socket.
        client: whose connection this counts as.
        limits: the deadlines.

    Attributes:
        waiting_since: the monotonic time since which it has waited for a request; ``None`` while it answers one.
    """

    def __init__(self, api: PullApi, peer: Peer, client: str, limits: Limits) -> None:
        """Wait for the first request."""
        self.client = client
        self.waiting_since: float | None = time.monotonic()
        self._api = api
        self._peer = peer
        self._limits = limits
        self._inbox = Inbox()
        self._leaving = False

    @property
    def leaving(self) -> bool:
        """Whether it was told to take no further request."""
        return self._leaving

    def leave(self) -> None:
        """Take no further request; an answer under way is finished. Safe from any thread."""
        self._leaving = True
        self._peer.end(socket.SHUT_RD)

    def cut(self) -> None:
        """End now, whatever is under way. Safe from any thread."""
        self._leaving = True
        self._peer.end(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer until either side ends the connection, and close it.

        Raises:
            OSError: the connection broke, or the client was too slow.
        """
        try:
            while request := self._next():
                self.waiting_since = None
                if not self._answer(request):
                    self._linger()
                    return
        except RefusedError as refusal:
            self._refuse(refusal)
            self._linger()
        finally:
            self._peer.close()

    def _next(self) -> Request | None:
        """Wait for a request; ``None`` if none comes any more."""
        self.waiting_since = time.monotonic()
        deadline = self.waiting_since + (self._limits.head if self._inbox else self._limits.idle)
        while (request := self._inbox.take()) is None:
            begun = bool(self._inbox)
            try:
                data = self._peer.receive(deadline)
            except TimeoutError:
                if begun:
                    raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the request takes too long to come") from None
                return None
            if not data or self._leaving:
                return None
            self._inbox.add(data)
            if not begun:
                deadline = time.monotonic() + self._limits.head
        return request

    def _answer(self, request: Request) -> bool:
        """Answer a request; give whether another may follow it."""
        http = request.http
        with_body = http.their_state is not h11.DONE  # which is not read, so that the next request is not found
        keep = not self._leaving and not with_body
        if request.method in {"GET", "HEAD"}:
            answer = self._api.answer(request.target, request.wanted_range if request.method == "GET" else None)
        else:
            answer = error_answer(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only")
        _log.info("%s %s %s %d", self.client, request.method, printable(request.target), answer.status)
        self._send(http, answer, keep=keep, head_only=request.method == "HEAD")
        return keep and not self._leaving and http.our_state is h11.DONE

    def _refuse(self, refusal: RefusedError) -> None:
        _log.info("%s refused: %s", self.client, printable(str(refusal)))
        answer = error_answer(refusal.status, "UNSUPPORTED", "this is no request that can be answered")
        self._send(h11.Connection(h11.SERVER), answer, keep=False, head_only=False)

    def _send(self, http: h11.Connection, answer: Answer, *, keep: bool, head_only: bool) -> None:
        try:
            head = _head(http, answer, keep=keep)
            if head_only:
                self._peer.send(head)
            elif answer.blob is None:
                self._peer.send(head + (http.send(h11.Data(data=answer.body)) or b""))
            else:
                http.send_with_data_passthrough(h11.Data(data=_Extent(answer.end - answer.start)))  # type: ignore[arg-type]  # h11 only measures it
                self._peer.send(head, more=answer.end > answer.start)
                self._peer.send_file(answer.blob, answer.start, answer.end)
            http.send(h11.EndOfMessage())
        finally:
            if answer.blob is not None:
                answer.blob.close()

    def _linger(self) -> None:
        """Send no more, and read what still comes: closed at once, the kernel might withdraw the last answer."""
        self.waiting_since = time.monotonic()
        self._peer.end(socket.SHUT_WR)
        with suppress(TimeoutError):
            while not self._leaving and self._peer.receive(self.waiting_since + _LINGER):
                pass


class _Extent:
    """The length of a body that the kernel sends."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


def _head(http: h11.Connection, answer: Answer, *, keep: bool) -> bytes:
    headers = [("Server", f"prestow/{__version__}"), ("Date", formatdate(usegmt=True)), *answer.headers]
    if not keep:
        headers.append(("Connection", "close"))
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    reason = answer.status.phrase.encode()
    return http.send(h11.Response(status_code=answer.status, headers=headers, reason=reason)) or b""
