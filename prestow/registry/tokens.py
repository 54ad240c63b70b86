"""Tokens: what a token service is asked, and how (distribution: "Token" and "OAuth2 Token Authentication").

    no credential         GET   realm?service=…&scope=…
    user and password     POST  realm, grant_type=password&service=…&scope=…&username=…&password=…
    identity token        POST  realm, grant_type=refresh_token&service=…&scope=…&refresh_token=…
      not by POST here    GET   realm?service=…&scope=…, Authorization: Basic …

A secret goes by ``POST`` first, as containerd sends it (``core/remotes/docker/auth/fetch.go``), so that it is in no
header that a service or a proxy writes down. Some services know ``GET`` only, and answer a ``POST`` with 400 (ACR), 401
(Artifactory), 404 (GCR) or 405: they are asked by ``GET`` once more. The way that works is the first one for this
service as long as the process lives; should it take ``GET`` no longer (404, 405), it is asked by ``POST`` again. A
``POST`` is never redirected: its body has the secret. A service that redirects it is asked by ``GET``, whose secret
stays behind at the first redirect to another origin.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import urlencode

from prestow.errors import InvalidError, PrestowError, UnauthorizedError, printable
from prestow.oci.document import Record, load
from prestow.registry.credentials import Credential
from prestow.registry.failure import failure
from prestow.registry.hosts import Timeouts, Tls
from prestow.registry.http import Connections, Request
from prestow.registry.network import Reach
from prestow.registry.proxy import ProxyChoice
from prestow.registry.redirects import REDIRECTS, follow
from prestow.registry.url import Url

_CLIENT = "prestow"
_FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
_LARGEST_ANSWER = 1 << 20
_LONGEST_TOKEN = 1 << 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # RFC 6750, section 2.1
_SHORTEST, _LONGEST = 60.0, 3600.0  # seconds that a token is used
_ANSWER_FIELDS = frozenset({"token", "access_token", "expires_in", "issued_at", "refresh_token"})
_NOT_BY = {  # statuses after which a service is asked the other way; of a POST containerd's, and redirects
    "POST": REDIRECTS | {400, 401, 404, 405},
    "GET": frozenset({404, 405}),
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a token service is asked for.

    Attributes:
        registry: exact ``host[:port]``.
        realm: URL of the service.
        parameters: service, where the registry names one, and scope.
        tls: how the service proves itself.
        limit: deepest place that it may lie at.
        timeouts: bounds of its waits.
        proxy: by which it is asked.
        advice: why it is asked without a credential, and the remedy; empty if it is asked with one.
    """

    registry: str
    realm: Url
    parameters: dict[str, str]
    tls: Tls
    limit: Reach | None
    timeouts: Timeouts | None
    proxy: ProxyChoice
    advice: str = ""

    def get(self, *private: tuple[str, str]) -> Request:
        """Return the question as a ``GET``, with headers for this service alone."""
        return self._sent(Request("GET", self.realm.with_query(**self.parameters), private=private))

    def post(self, **form: str) -> Request:
        """Return the question as a ``POST``, whose body has all of it and the ``form`` with the secret."""
        content = urlencode({**self.parameters, "client_id": _CLIENT, **form}).encode()
        return self._sent(Request("POST", self.realm, headers=_FORM, content=content))

    def _sent(self, request: Request) -> Request:
        return replace(request, tls=self.tls, limit=self.limit, timeouts=self.timeouts, proxy=self.proxy)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, as a service gives it.

    Attributes:
        header: value of the ``Authorization`` header that has it.
        seconds: how long to use it, from its receipt.
    """

    header: str = field(repr=False)
    seconds: float


class Tokens:
    """Asks token services, and remembers how each is asked; safe for threads."""

    def __init__(self, connections: Connections) -> None:
        """Know no service yet."""
        self._connections = connections
        self._methods: dict[tuple[Url, bool], str] = {}

    def fetch(self, question: Question, credential: Credential | None) -> Token:
        """Return a token; the credential is sent, so the service must be one that may have it.

        Raises:
            UnauthorizedError: the service refuses us.
            InvalidError: its answer is no token, or breaks a rule.
            UnavailableError: it does not answer.
        """
        service = (question.realm, bool(credential and credential.username))
        requests = sorted(_requests(question, credential), key=lambda each: each.method != self._methods.get(service))
        errors: list[PrestowError] = []
        for request in requests:
            with follow(self._connections, request) as response:
                if response.status == HTTPStatus.OK:
                    kind = printable(response.media_type) or "no type"
                    what = f"token for {question.registry} from {question.realm.origin} ({kind})"
                    token = _read(response.read(_LARGEST_ANSWER), what)
                    if credential is not None:
                        self._methods[service] = request.method
                    return token
                response.advice = question.advice
                errors.append(failure(response, f"token for {question.registry}"))
                if response.status not in _NOT_BY[request.method]:
                    raise errors[-1]
        # A service that refuses the password says more than one that does not know how it was asked.
        raise next((error for error in errors if isinstance(error, UnauthorizedError)), errors[-1])


def _requests(question: Question, credential: Credential | None) -> Iterator[Request]:
    """Yield the ways to ask, the usual first one first."""
    if credential is None:
        yield question.get()
        return
    if credential.username:
        yield question.post(grant_type="password", username=credential.username, password=credential.secret)
    else:
        yield question.post(grant_type="refresh_token", refresh_token=credential.secret)
    yield question.get(("Authorization", credential.basic))


def _read(raw: bytes, what: str) -> Token:
    """Return the token in an answer; a POST is answered with ``access_token``, a GET with either name."""
    record = Record.of(load(raw, what), what, _ANSWER_FIELDS)
    token = record.text("token", "") or record.text("access_token")
    if len(token) > _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise InvalidError(f"{what}: not a token that a header can carry")
    seconds = record.fields.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = 0
    return Token(f"Bearer {token}", min(max(float(seconds), _SHORTEST), _LONGEST))
