"""Authentication: answering a registry's challenge with a token, or with user and password.

    registry  401, WWW-Authenticate: Bearer realm="https://auth…",service=…,scope=…
    we        the realm's service for a token, with our credential if it may have it (tokens.py)     token
    registry  the same request again, Authorization: Bearer <token>

Three things keep credentials at home. A realm is a URL that the registry names, and it may name any server: only some
are given our credentials (realms.py), any other one is asked anonymously. A realm cannot lie deeper in our networks
than the registry. And it has to use TLS, unless the operator said so or all is on loopback.

Tokens are kept for one origin, repository and name of credentials until they expire, counted from their receipt by our
own monotonic clock.
One thread fetches, others wait for it. A token that the registry refuses is replaced once; the second refusal is final.
"""

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from prestow.errors import InvalidError, UnauthorizedError, UnavailableError, printable
from prestow.registry.challenge import Challenge
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.hosts import Endpoint
from prestow.registry.http import Connections
from prestow.registry.network import Reach
from prestow.registry.realms import is_trusted, may_have_credentials
from prestow.registry.tokens import Question, Tokens
from prestow.registry.url import Url, is_loopback

_log = logging.getLogger(__name__)

_Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Grant:
    """An ``Authorization`` header, and until when it is sent.

    Attributes:
        header: its value.
        expires: by the authoriser's clock.
        advice: why there is no credential behind it, and the remedy; empty if there is one.
        secret: of the credential behind it; empty if there is none.
    """

    header: str = field(repr=False)
    expires: float
    advice: str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A registry's 401.

    Attributes:
        challenges: what it asks for.
        sent: the ``Authorization`` that it refused, ``None`` where none was sent.
        reach: where the registry lies.
        limit: how deep it may lie; ``None`` for one of the operator's choice.
    """

    challenges: Sequence[Challenge]
    sent: str | None = field(repr=False)
    reach: Reach
    limit: Reach | None


class Authoriser:
    """Knows how to prove who we are; one a process, safe for threads."""

    def __init__(
        self, connections: Connections, credentials: Credentials, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep no token yet."""
        self._connections = connections
        self._credentials = credentials
        self._clock = clock
        self._tokens = Tokens(connections)
        self._grants: dict[_Key, Grant] = {}
        self._locks: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)

    def known(self, endpoint: Endpoint, repository: str) -> Grant | None:
        """Return what is known to serve for a repository, if it has not expired."""
        grant = self._grants.get(_key(endpoint, repository))
        return grant if grant and grant.expires > self._clock() else None

    def answer(self, endpoint: Endpoint, repository: str, refusal: Refusal) -> Grant:
        """Return the ``Authorization`` with which to try once more.

        Raises:
            UnauthorizedError: there is no other than the one that was refused.
            InvalidError: the challenge breaks its grammar, or leads where it must not.
            UnavailableError: the token service does not answer.
        """
        key = _key(endpoint, repository)
        with self._alone(key, endpoint):
            known = self.known(endpoint, repository)
            if known is not None and known.header != refusal.sent:
                return known  # another thread was here first
            grant = self._grant(endpoint, repository, refusal)
            if grant.header == refusal.sent:
                raise UnauthorizedError(f"{endpoint.name}: refuses the credentials that it was given; log in again")
            self._grants[key] = grant
            return grant

    @contextmanager
    def _alone(self, key: _Key, endpoint: Endpoint) -> Iterator[None]:
        lock = self._locks[key]
        if not lock.acquire(timeout=2 * self._connections.options.timeouts.document):
            raise UnavailableError(f"{endpoint.name}: its token service is taking too long")
        try:
            yield
        finally:
            lock.release()

    def _grant(self, endpoint: Endpoint, repository: str, refusal: Refusal) -> Grant:
        """Answer the best challenge that there is an answer for."""
        offers = {challenge.scheme: challenge for challenge in reversed(refusal.challenges)}
        if "bearer" in offers:
            return self._token(endpoint, offers["bearer"], repository, refusal)
        if "basic" not in offers:
            names = ", ".join(printable(name, 40) for name in list(offers)[:4]) or "nothing"
            raise UnauthorizedError(
                f"{endpoint.name}: wants {names} for authentication; supported are Bearer and Basic"
            )
        credential, advice = self._credential(endpoint, repository)
        if credential is None or not credential.username:
            raise UnauthorizedError(f"{endpoint.name}: wants a user name and a password; {advice or 'log in to it'}")
        return Grant(credential.basic, math.inf, secret=credential.secret)

    def _token(self, endpoint: Endpoint, challenge: Challenge, repository: str, refusal: Refusal) -> Grant:
        options = self._connections.options
        realm, parameters = _realm(endpoint, challenge), _parameters(challenge, repository)
        loopback = refusal.reach is Reach.LOOPBACK and is_loopback(realm.host)
        own = realm.origin == endpoint.base.origin
        if realm.scheme == "http" and not own and not loopback and not options.allows_plain(realm):
            raise InvalidError(
                f"{endpoint.name}: its token service {realm.origin} is plain HTTP; name that host insecure to allow it"
            )
        credential, advice = self._credential(endpoint, repository)
        if credential and not may_have_credentials(endpoint, realm, options):
            advice = (
                f"its token service {realm.origin} was not given the credentials of {endpoint.name}: "
                f"add {endpoint.name}={realm.host} to trusted_hosts to allow it"
            )
            _log.warning("%s is asked for anonymously: %s", endpoint.name, advice)
            credential = None
        known = realm.host == endpoint.base.host or is_trusted(endpoint, realm, options)
        # The registry's own certificates serve for its token service, but for the one that proves who we are.
        tls, proxy = (endpoint.tls, endpoint.proxy) if own else (endpoint.tls.for_others(), "default")
        limit = refusal.limit if known else refusal.reach
        question = Question(endpoint.name, realm, parameters, tls, limit, endpoint.timeouts, proxy, advice)
        token = self._tokens.fetch(question, credential)
        return Grant(token.header, self._clock() + token.seconds, advice, credential.secret if credential else "")

    def _credential(self, endpoint: Endpoint, repository: str) -> tuple[Credential | None, str]:
        """Return the credential for an endpoint; else why there is none, and the remedy."""
        withheld = ""
        if endpoint.credentials:
            named = self._credentials.find_named(endpoint.credentials)
            if named.fits(endpoint.name):
                return named.credential, ""
            withheld = (
                f"credentials {endpoint.credentials} are for {named.registry} and were not given to {endpoint.name}: "
                "name others, or change the registry in them"
            )
        found = self._credentials.find(endpoint.name, repository)
        return found, "" if found else withheld or self._where_to_log_in(endpoint, repository)

    def _where_to_log_in(self, endpoint: Endpoint, repository: str) -> str:
        """Return where no credential was found, and the remedy; a registry may answer so for a repository it lacks."""
        places = self._credentials.places
        if not places:
            return ""
        return (
            f"no credentials for {endpoint.name}/{repository} were found in {', '.join(places)}: "
            f"check the name, or log in with `prestow login {endpoint.name}`"
        )


def _key(endpoint: Endpoint, repository: str) -> _Key:
    """Return what a grant is kept for: with other credentials, the same repository may be another's."""
    return (endpoint.base.origin, repository, endpoint.credentials)


def _realm(endpoint: Endpoint, challenge: Challenge) -> Url:
    """Return the URL of the token service."""
    realm = challenge.parameters.get("realm")
    if not realm:
        raise InvalidError(f"{endpoint.name}: its Bearer challenge names no realm")
    return Url.parse(realm)


def _parameters(challenge: Challenge, repository: str) -> dict[str, str]:
    """Return the service that asks, where it has a name, and the scope to ask for."""
    service = challenge.parameters.get("service")
    scope = challenge.parameters.get("scope") or (f"repository:{repository}:pull" if repository else "")
    return {**({"service": service} if service else {}), **({"scope": scope} if scope else {})}
