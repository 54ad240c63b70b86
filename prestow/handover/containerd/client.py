"""A client of containerd: its services by gRPC on its socket, and CRI's image service on the same one.

    client.call("Images.Get", name="docker.io/library/alpine:3.20").image.target.digest

Calls see one namespace of containerd. What is made within :meth:`Client.leased` is protected from containerd's garbage
collection until the block ends, or, should this process die, until the lease expires.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from prestow.cancellation import PROMPT, check
from prestow.errors import (
    AlreadyExistsError,
    ExhaustedError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    PrestowError,
    RuntimeFailedError,
    UnavailableError,
    UnsupportedError,
    printable,
)
from prestow.handover.containerd.messages import MESSAGES

_SERVICES = {
    "Version": "containerd.services.version.v1.Version",
    "Introspection": "containerd.services.introspection.v1.Introspection",
    "Leases": "containerd.services.leases.v1.Leases",
    "Content": "containerd.services.content.v1.Content",
    "Snapshots": "containerd.services.snapshots.v1.Snapshots",
    "Diff": "containerd.services.diff.v1.Diff",
    "Images": "containerd.services.images.v1.Images",
    "Containers": "containerd.services.containers.v1.Containers",
    "Cri": "runtime.v1.ImageService",
}
_METHODS = {
    "Version.Version": ("Empty", "VersionAnswer"),
    "Introspection.Plugins": ("PluginsRequest", "PluginsAnswer"),
    "Leases.Create": ("LeaseRequest", "LeaseAnswer"),
    "Leases.Delete": ("LeaseEnd", "Empty"),
    "Content.Info": ("BlobRequest", "BlobAnswer"),
    "Content.Update": ("BlobUpdate", "BlobAnswer"),
    "Content.Write": ("Write", "Written"),
    "Content.Abort": ("Ref", "Empty"),
    "Snapshots.Stat": ("SnapshotRequest", "SnapshotAnswer"),
    "Snapshots.Prepare": ("Prepare", "Mounts"),
    "Snapshots.Commit": ("Commit", "Empty"),
    "Snapshots.Remove": ("SnapshotRequest", "Empty"),
    "Diff.Apply": ("Apply", "Applied"),
    "Images.Get": ("ImageRequest", "OneImage"),
    "Images.List": ("ImageList", "Images"),
    "Images.Create": ("OneImage", "OneImage"),
    "Images.Update": ("ImageUpdate", "OneImage"),
    "Images.Delete": ("ImageEnd", "Empty"),
    "Containers.List": ("ContainerList", "Containers"),
    "Cri.ImageStatus": ("CriStatusRequest", "CriStatus"),
    "Cri.ListImages": ("CriList", "CriImages"),
    "Cri.ImageFsInfo": ("Empty", "CriUsages"),
}
_ERRORS: dict[grpc.StatusCode, type[PrestowError]] = {
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ExhaustedError,
}
_SECONDS = 60.0
"""For which an answer is waited, except of long work."""
_NO_SPACE = "no space left on device"
_STARTING = "not initialized yet"
"""Of CRI's answer between containerd's own start and CRI's; it comes without a code that says so."""
_LARGEST = 256 << 20  # bytes of one answer: a list of all images


class Client:
    """One namespace of one containerd."""

    def __init__(self, address: Path, namespace: str) -> None:
        """Connect at the first call.

        Args:
            address: containerd's socket.
            namespace: of its objects, ``k8s.io`` for those of Kubernetes.
        """
        self.address, self.namespace = address, namespace
        self._metadata: tuple[tuple[str, str | bytes], ...] = (("containerd-namespace", namespace),)
        options = [("grpc.max_receive_message_length", _LARGEST), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(f"unix:{address}", options)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(self, method: str, *, seconds: float | None = _SECONDS, **fields: Any) -> Any:
        """Call a method with a message of these fields, and return the answer.

        Args:
            method: service and method, as ``_METHODS`` has them.
            seconds: to wait for the answer; None for work that takes as long as it takes.
            fields: of the message.

        Raises:
            PrestowError: containerd refused; the class tells what kind of refusal it was.
            CancelledError: the work is to end.
        """
        request, answer = (MESSAGES[name] for name in _METHODS[method])
        function = self._channel.unary_unary(_path(method), request.SerializeToString, answer.FromString)
        with self._translated(method):
            future = function.future(request(**fields), timeout=seconds, metadata=self._metadata)
            return _awaited(future, future.cancel)

    def write(self, pieces: Iterable[dict[str, Any]]) -> None:
        """Write a blob to the content store: one message of ``Content.Write`` for each piece.

        Raises:
            PrestowError: as :meth:`call`.
        """
        request, answer = MESSAGES["Write"], MESSAGES["Written"]
        function = self._channel.stream_stream(_path("Content.Write"), request.SerializeToString, answer.FromString)
        with self._translated("Content.Write"):
            stream = function((request(**piece) for piece in pieces), metadata=self._metadata)
            with ThreadPoolExecutor(1) as pool:
                _awaited(pool.submit(deque, stream, 0), stream.cancel)  # an answer comes for each piece

    def find(self, method: str, **fields: Any) -> Any | None:
        """Call a method, and return the answer; None if containerd has no such thing."""
        try:
            return self.call(method, **fields)
        except NotFoundError:
            return None

    @contextmanager
    def leased(self, seconds: float) -> Iterator[str]:
        """Protect what is made within the block; yield a name for it that no other process has."""
        name = f"prestow-{secrets.token_hex(8)}"
        expires = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.call("Leases.Create", id=name, labels={"containerd.io/gc.expire": expires})
        before, self._metadata = self._metadata, (*self._metadata, ("containerd-lease", name))
        try:
            yield name
        finally:
            self._metadata = before
            with suppress(PrestowError):  # it expires
                self.call("Leases.Delete", id=name)

    @contextmanager
    def _translated(self, method: str) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._error(method, error) from error

    def _error(self, method: str, error: Any) -> PrestowError:
        code, details = error.code(), printable(str(error.details()))
        if code is grpc.StatusCode.UNAVAILABLE and not self.address.exists():
            return UnsupportedError(
                f"containerd: there is no socket {self.address}; start containerd, or set containerd_address"
            )
        if code is grpc.StatusCode.UNAVAILABLE and not _is_allowed(self.address):
            return UnsupportedError(f"containerd: this user may not use the socket {self.address}; run this as root")
        if _NO_SPACE in details:
            return ExhaustedError(f"containerd: {details}; free space on its disk")
        if _STARTING in details:
            return UnavailableError(f"containerd ({self.address}) is starting: {details}; try again in a moment")
        return _ERRORS.get(code, RuntimeFailedError)(f"containerd ({self.address}), {method}: {details}")


def _path(method: str) -> str:
    service, _, name = method.partition(".")
    return f"/{_SERVICES[service]}/{name}"


def _awaited(future: Any, cancel: Callable[[], object]) -> Any:
    """Return a future's result; if the work is to end first, cancel what the future waits for."""
    while True:
        try:
            return future.result(timeout=PROMPT)
        except (grpc.FutureTimeoutError, TimeoutError):
            _or_cancelled(cancel)


def _or_cancelled(cancel: Callable[[], object]) -> None:
    try:
        check()
    except BaseException:
        cancel()
        raise


def _is_allowed(address: Path) -> bool:
    """Whether this user may connect to a socket."""
    return os.access(address, os.R_OK | os.W_OK, effective_ids=True)
