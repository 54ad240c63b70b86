"""Registries for tests, all on loopback: the real ``docker-registry``, and one that misbehaves as it is told.

:func:`docker_registry` runs Debian's registry; images get into it by skopeo. :class:`FaultRegistry` serves an OCI
layout and looks each request up in its rules: ``registry.on("/blobs/", Fault(drop_after=1000), times=2)``. Whatever
reached it is in ``registry.seen``, so that a test can tell what was sent, and to whom.
"""

import base64
import json
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from prestow.digest import Digest

USER, PASSWORD = "fleet", "secret"
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
_START_SECONDS = 30
_ROUTE = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(frozen=True)
class DockerRegistry:
    """A running ``docker-registry``."""

    domain: str
    data: Path
    password: str | None = None

    def push(self, layout: Path, ref: str, name: str) -> str:
        """Push an image, all its platforms, byte for byte; give its reference."""
        login = [] if self.password is None else ["--dest-creds", f"{USER}:{self.password}"]
        target = f"{self.domain}/{name}"
        copy = ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", *login]
        subprocess.run([*copy, f"oci:{layout}:{ref}", f"docker://{target}"], check=True, timeout=120)
        return target

    @contextmanager
    def without(self, digests: Iterable[Digest]) -> Iterator[None]:
        """Have some of the blobs no longer, for as long as the block lasts: whoever asks for one fails."""
        blobs = self.data / "docker/registry/v2/blobs"
        paths = [blobs / digest.algorithm / digest.encoded[:2] / digest.encoded / "data" for digest in digests]
        hidden = [(path, path.rename(path.with_name("hidden"))) for path in paths if path.exists()]
        try:
            yield
        finally:
            for path, away in hidden:
                away.rename(path)


@contextmanager
def docker_registry(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    password: bool = False,
    tls: dict[str, object] | None = None,
    **sections: object,
) -> Iterator[DockerRegistry]:
    """Run Debian's registry on a free port, its files in ``folder``.

    Args:
        folder: what it holds stays there.
        host: address at which it listens.
        password: whether it wants Basic credentials.
        tls: ``certificate``, ``key`` and ``clientcas`` (files), as in its configuration; plain HTTP if not given.
        sections: further sections of its configuration, such as ``auth`` and ``proxy``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    auth = {"auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}} if password else {}
    config = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"{host}:0", "secret": "for tests", **({"tls": tls} if tls else {})},
        **auth,
        **sections,
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield DockerRegistry(_listening(process, log), folder / "data", PASSWORD if password else None)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listening(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the registry says where it listens."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"listening on ([0-9.]+:[0-9]+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry did not start:\n{log.read_text(errors='replace')}")


@dataclass(frozen=True)
class Fault:
    """How one answer differs from the right one.

    Attributes:
        status: sent instead.
        headers: added or replaced; ``None`` takes one away.
        body: sent instead, with its own length.
        drop_after: bytes of the body after which the connection ends, its length having been promised in full.
        stall_after: bytes of the body after which nothing more comes, or the rest only after ``until``.
        whole: a range is not looked at.
        chunked: no length is told; the body comes in chunks.
        pieces: bytes that are sent at a time, with a little wait between.
        raw: sent instead of everything, then the connection ends.
        silent: nothing is sent at all.
        redirect: sent to this URL, the path of the request appended if it ends in ``/``.
    """

    status: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    drop_after: int | None = None
    stall_after: int | None = None
    until: threading.Event | None = None
    whole: bool = False
    chunked: bool = False
    pieces: int | None = None
    raw: bytes | None = None
    silent: bool = False
    redirect: str | None = None


@dataclass
class Rule:
    """A fault for the requests that match, ``left`` times (``None``: always)."""

    pattern: re.Pattern[str]
    method: str | None
    fault: Fault
    left: int | None


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of its URL."""
        return {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}


@dataclass
class Access:
    """What a registry wants for authentication: a Bearer token from ``realm``, or Basic where that is ``None``.

    Attributes:
        realm: URL of the token service, ``{host}`` in it the registry's name; ``None`` for Basic authentication.
        expires_in: what the service says of its tokens.
        uses: requests that one token serves for, ``None`` for all.
        extra: members that are added to the service's answer.
    """

    realm: str | None
    expires_in: object = 300
    uses: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


class FaultRegistry:
    """A registry over an OCI layout, and a token service at ``/token``; serves while its context is open."""

    def __init__(self, layout: Path, *, certificate: Path | None = None, host: str = "127.0.0.1") -> None:
        """Serve what is in ``layout``, in repositories of any name; its refs are the tags.

        It listens at an address of this ``host``. With ``certificate``, a file that has its key too, it speaks TLS.
        """
        self.layout = layout
        self._host = host
        self.seen: list[Seen] = []
        self.access: Access | None = None
        self.accepted = 0
        self.ended = threading.Event()
        self._folder = f"team-{token_hex(4)}"
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server((host, 0), lambda *arguments: _Handler(self, *arguments))
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake belongs to the thread of its connection: one that fails must not end the server.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)

    @property
    def domain(self) -> str:
        """Where it listens, ``host:port``."""
        return f"{self._host}:{self._server.server_address[1]}"

    @property
    def own(self) -> str:
        """The domain with a folder of its own: no other test names its images so, even if it gets the same port."""
        return f"{self.domain}/{self._folder}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"{self._scheme}://{self.domain}"

    def on(self, pattern: str, fault: Fault, *, times: int | None = None, method: str | None = None) -> None:
        """Misbehave where the path, with the body behind it, matches; earlier rules go first."""
        self._rules.append(Rule(re.compile(pattern), method, fault, times))

    def requests(self, pattern: str = "", method: str | None = None) -> list[Seen]:
        """Return the requests that arrived at paths that match."""
        return [s for s in list(self.seen) if re.search(pattern, s.path) and method in (None, s.method)]

    def fault_for(self, method: str, path: str) -> Fault:
        """Return the fault of the first rule that applies, and count it."""
        with self._lock:
            for rule in self._rules:
                if rule.left != 0 and rule.method in (None, method) and rule.pattern.search(path):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule.fault
        return Fault()

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; connections that wait are let go."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away or did not like the certificate; tell everything else."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as socketserver gave them


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, registry: FaultRegistry, *arguments: object) -> None:
        self.registry = registry
        registry.accepted += 1
        super().__init__(*arguments)  # type: ignore[arg-type]  # socketserver's three

    def log_message(self, form: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.registry.seen.append(Seen(self.command, self.path, dict(self.headers), body))
        fault = self.registry.fault_for(self.command, self.path + body.decode("latin-1"))
        with suppress(ConnectionError):
            self._misbehave(fault)

    do_HEAD = do_POST = do_GET  # noqa: N815 - named by http.server

    def _misbehave(self, fault: Fault) -> None:
        if fault.silent:
            self.registry.ended.wait(30)
        if fault.silent or fault.raw is not None:
            self.close_connection = True
            self._send(fault.raw or b"", fault)
            return
        status, headers, answer = self._answer(fault)
        if fault.redirect is not None:
            tail = self.path if fault.redirect.endswith("/") else ""
            status, headers, answer = (
                307,
                {"Location": fault.redirect.rstrip("/") + tail if tail else fault.redirect},
                b"",
            )
        answer = answer if fault.body is None else fault.body
        length = {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(answer))}
        self.send_response(fault.status or status)
        for name, value in {**headers, **length, **fault.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(answer, fault)

    def _send(self, body: bytes, fault: Fault) -> None:
        end = min(
            len(body), *(after for after in (fault.drop_after, fault.stall_after) if after is not None), len(body)
        )
        step = fault.pieces or max(end, 1)
        for start in range(0, end, step):
            piece = body[start : min(start + step, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.chunked else piece)
            if fault.pieces and self.registry.ended.wait(0.02):
                break
        if fault.stall_after is not None:
            (fault.until or self.registry.ended).wait(30)
            self.wfile.write(body[end:] if fault.until and fault.drop_after is None else b"")
        if fault.chunked and fault.drop_after is None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = (
            self.close_connection or fault.drop_after is not None or "Content-Length" in fault.headers
        )

    def _answer(self, fault: Fault) -> tuple[int, dict[str, str], bytes]:
        """Return the right answer: status, headers and body."""
        access = self.registry.access
        if urlsplit(self.path).path == "/token":
            return self._token(access or Access(None))
        if access is not None and not self._admitted(access):
            realm = access.realm and access.realm.replace("{host}", self.headers["Host"])
            scheme = 'Basic realm="tests"' if realm is None else f'Bearer realm="{realm}",service="tests"'
            return 401, {"WWW-Authenticate": scheme}, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}'
        route = _ROUTE.fullmatch(urlsplit(self.path).path)
        if route is None:
            return 200 if self.path == "/v2/" else 404, {}, b""
        return self._blob(route[3], fault) if route[2] == "blobs" else self._manifest(route[3])

    def _admitted(self, access: Access) -> bool:
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        if access.realm is None:
            return base64.b64decode(secret).decode() == f"{USER}:{PASSWORD}"
        if scheme != "Bearer" or access.tokens.get(secret, 0) == 0:
            return False
        access.tokens[secret] -= 1
        return True

    def _token(self, access: Access) -> tuple[int, dict[str, str], bytes]:
        token = f"token-{len(access.tokens) + 1}"
        access.tokens[token] = 1_000_000 if access.uses is None else access.uses
        answer = {"token": token, "expires_in": access.expires_in, **access.extra}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _manifest(self, reference: str) -> tuple[int, dict[str, str], bytes]:
        index = json.loads((self.registry.layout / "index.json").read_bytes())["manifests"]
        named = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index}
        raw = self._read(named.get(reference, reference))
        if raw is None:
            return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        about = {"Content-Type": json.loads(raw)["mediaType"], "Docker-Content-Digest": named.get(reference, reference)}
        return 200, about, raw

    def _blob(self, digest: str, fault: Fault) -> tuple[int, dict[str, str], bytes]:
        data = self._read(digest)
        if data is None:
            return 404, {}, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'
        wanted = _RANGE.match(self.headers.get("Range", ""))
        if wanted is None or fault.whole:
            return 200, {"Content-Type": "application/octet-stream"}, data
        start, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        return 206, {"Content-Range": f"bytes {start}-{last}/{len(data)}"}, data[start : last + 1]

    def _read(self, digest: str) -> bytes | None:
        algorithm, _, encoded = digest.partition(":")
        path = self.registry.layout / "blobs" / algorithm / encoded
        return path.read_bytes() if encoded.isalnum() and path.is_file() else None
