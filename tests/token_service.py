"""A token service for the real ``docker-registry``: it signs tokens that the registry checks (distribution, "Token").

It knows one user, :data:`USER`, who may pull from every repository but ``closed/``, and the same user's identity token;
anybody may pull from ``public/``. What it was asked is in ``service.asked``, what it gave in ``service.given``.
"""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit

from tests.certificates import Authority
from tests.registries import PASSWORD, USER

IDENTITY = "identity-of-fleet"
LEEWAY = 60  # seconds for which docker-registry takes a token that has expired
_NAME, _ISSUER = "registry of the tests", "token service of the tests"


@dataclass(frozen=True)
class Asked:
    """A question that arrived.

    Attributes:
        method: of the request.
        user: who asked; ``None`` if it was anonymous.
        scope: what for.
        status: of the answer.
    """

    method: str
    user: str | None
    scope: str
    status: int


@dataclass
class TokenService:
    """A running service.

    Attributes:
        url: its realm.
        signer: who vouches for its tokens.
        methods: those that it answers.
        lifetime: seconds until the registry refuses a token.
        asked: questions that arrived.
        given: tokens.
    """

    url: str
    signer: Authority
    methods: frozenset[str] = frozenset({"GET", "POST"})
    lifetime: int = 300
    asked: list[Asked] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    @property
    def auth(self) -> dict[str, object]:
        """The section ``auth`` of a registry that trusts this service."""
        bundle = str(self.signer.certificate)
        return {"token": {"realm": self.url, "service": _NAME, "issuer": _ISSUER, "rootcertbundle": bundle}}

    def answer(self, method: str, query: str, body: str, authorization: str) -> tuple[int, bytes]:
        """Return status and body for a question."""
        values = {name: value[0] for name, value in parse_qs(f"{query}&{body}").items()}
        scope = values.get("scope", "")
        user, known = _user(values, authorization)
        repository = scope.removeprefix("repository:").rpartition(":")[0]
        if method not in self.methods:
            status = 405
        elif not known or values.get("service") != _NAME or (user is None and not repository.startswith("public/")):
            status = 401
        else:
            status = 403 if repository.startswith("closed/") else 200
        self.asked.append(Asked(method, user, scope, status))
        return status, json.dumps(self._token(repository, user) if status == 200 else {"details": "no"}).encode()

    def _token(self, repository: str, user: str | None) -> dict[str, object]:
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": ["pull"]}]
        dates = {"iat": now, "nbf": now - LEEWAY, "exp": now + self.lifetime - LEEWAY, "jti": token_hex(8)}
        claims = {"iss": _ISSUER, "sub": user or "", "aud": _NAME, **dates, "access": access}
        token = self._signed(claims)
        self.given.append(token)
        issued = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        return {"token": token, "access_token": token, "expires_in": self.lifetime, "issued_at": issued}

    def _signed(self, claims: dict[str, object]) -> str:
        """Return a JWT with its certificate in it, signed by ES256 (RFC 7515, 4.1.6; RFC 7518, 3.4)."""
        certificate = "".join(self.signer.certificate.read_text().strip().splitlines()[1:-1])
        header = {"typ": "JWT", "alg": "ES256", "x5c": [certificate]}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self.signer.folder / "ca.key")]
        der = subprocess.run(command, input=signed.encode(), check=True, capture_output=True).stdout
        end = 4 + der[3]  # SEQUENCE { INTEGER r, INTEGER s }
        numbers = (int.from_bytes(number).to_bytes(32) for number in (der[4:end], der[end + 2 :]))
        return f"{signed}.{_encoded(b''.join(numbers))}"


def _user(values: dict[str, str], authorization: str) -> tuple[str | None, bool]:
    """Return who asks, and whether that was proved."""
    if authorization.startswith("Basic "):
        user, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
        return user, (user, password) == (USER, PASSWORD)
    if values.get("grant_type") == "password":
        return values["username"], (values["username"], values["password"]) == (USER, PASSWORD)
    if values.get("grant_type") == "refresh_token":
        return USER, values["refresh_token"] == IDENTITY
    return None, True


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_service(signer: Authority) -> Iterator[TokenService]:
    """Run a service for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, form: str, *arguments: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            body = b"".join(self._pieces()).decode()
            query, authorization = urlsplit(self.path).query, self.headers.get("Authorization", "")
            status, answer = running.answer(self.command, query, body, authorization)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - named by http.server

        def _pieces(self) -> Iterator[bytes]:
            """Yield what a request's body consists of; skopeo sends it in chunks."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = TokenService(f"http://127.0.0.1:{server.server_address[1]}/token", signer)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
