"""The client of containerd against servers that refuse: each refusal is an error of the right kind, in one sentence."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest

from prestow.cancellation import Token, watched
from prestow.errors import (
    AlreadyExistsError,
    CancelledError,
    ExhaustedError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    PrestowError,
    RuntimeFailedError,
    UnavailableError,
    UnsupportedError,
)
from prestow.handover.containerd.client import Client


class _Everything(grpc.GenericRpcHandler):
    """Answers every method by one function."""

    def __init__(self, answer: Callable[[grpc.ServicerContext], bytes]) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ARG002 - gRPC's name
        return grpc.unary_unary_rpc_method_handler(lambda _, context: self._answer(context))


@contextmanager
def answering(answer: Callable[[grpc.ServicerContext], bytes]) -> Iterator[Client]:
    """A client of a server that answers everything so."""
    with TemporaryDirectory(prefix="prestow-grpc-") as folder:
        address = Path(folder, "sock")
        server = grpc.server(ThreadPoolExecutor(4), handlers=[_Everything(answer)])
        server.add_insecure_port(f"unix:{address}")
        server.start()
        client = Client(address, "k8s.io")
        try:
            yield client
        finally:
            client.close()
            server.stop(None)


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, "image: not found", NotFoundError),
        (grpc.StatusCode.ALREADY_EXISTS, "image: already exists", AlreadyExistsError),
        (grpc.StatusCode.FAILED_PRECONDITION, "size validation failed", PreconditionError),
        (grpc.StatusCode.INVALID_ARGUMENT, "invalid name", InvalidError),
        (grpc.StatusCode.UNAVAILABLE, "locked for 3 s", UnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service", UnsupportedError),
        (grpc.StatusCode.UNKNOWN, "write /var/lib/x: no space left on device", ExhaustedError),
        (grpc.StatusCode.UNKNOWN, "server is not initialized yet", UnavailableError),
        (grpc.StatusCode.UNKNOWN, "it broke\x1b[2J", RuntimeFailedError),
        (grpc.StatusCode.PERMISSION_DENIED, "no", RuntimeFailedError),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(code: grpc.StatusCode, details: str, expected: type[PrestowError]) -> None:
    with answering(lambda context: context.abort(code, details)) as client, pytest.raises(expected) as caught:
        client.call("Images.Get", name="x")

    assert type(caught.value) is expected
    assert "\x1b" not in str(caught.value)
    assert "containerd" in str(caught.value)


def test_what_is_not_there_is_none() -> None:
    with answering(lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no")) as client:
        assert client.find("Images.Get", name="x") is None


def test_without_a_socket_it_is_said_what_to_do(tmp_path: Path) -> None:
    client = Client(tmp_path / "none", "k8s.io")
    with pytest.raises(UnsupportedError, match="start containerd, or set containerd_address"):
        client.call("Version.Version")
    client.close()


def test_a_socket_at_which_nobody_answers_may_answer_later() -> None:
    with TemporaryDirectory(prefix="prestow-grpc-") as folder:
        address = Path(folder, "sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
        client = Client(address, "k8s.io")
        with pytest.raises(UnavailableError):
            client.call("Version.Version")
        client.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_who_may_not_is_told_so() -> None:
    with TemporaryDirectory(prefix="prestow-grpc-", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = Path(folder, "sock")
        listener.bind(str(address))
        address.chmod(0o600)
        Path(folder).chmod(0o755)
        listener.listen()
        client = Client(address, "k8s.io")
        os.seteuid(65534)
        try:
            with pytest.raises(UnsupportedError, match="run this as root"):
                client.call("Version.Version")
        finally:
            os.seteuid(0)
            client.close()


def call(client: Client) -> object:
    return client.call("Diff.Apply", seconds=None)


def send(client: Client) -> object:
    return client.write({"action": 1, "data": b"x"} for _ in range(3))  # type: ignore[func-returns-value]


@pytest.mark.parametrize("work", [call, send])
def test_long_work_ends_with_its_run(work: Callable[[Client], object]) -> None:
    begun, ended = threading.Event(), threading.Event()

    def answer(context: grpc.ServicerContext) -> bytes:
        context.add_callback(ended.set)
        begun.set()
        ended.wait(30)
        return b""

    with answering(answer) as client, watched(Token()) as token:
        threading.Thread(target=lambda: (begun.wait(30), token.cancel("enough"))).start()
        with pytest.raises(CancelledError, match="enough"):
            work(client)
        assert ended.wait(30), "containerd was told"


def test_an_answer_of_another_kind_is_no_answer() -> None:
    with answering(lambda _: b"\xff\xff\xff") as client, pytest.raises(RuntimeFailedError):
        client.call("Images.Get", name="x")
