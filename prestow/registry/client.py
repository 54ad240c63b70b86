"""The client: requests to endpoints, with redirects followed and challenges answered.

One a process: it keeps connections and tokens between requests, for all threads. Some registries only redirect to
another, which then has a challenge of its own: it is answered without credentials, which are for the first.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from http import HTTPStatus

from prestow.registry.auth import Authoriser, Grant, Refusal
from prestow.registry.challenge import parse_challenges
from prestow.registry.credentials import ANONYMOUS, Credentials
from prestow.registry.health import Health
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.http import Connections, Request, Response
from prestow.registry.redirects import follow


class Client:
    """Speaks to registries.

    Args:
        options: how; see there.
        credentials: who we are to each of them.
        health: which mirrors are set aside; none is, if not given.
        clock: monotonic, in seconds; tokens expire by it.
    """

    def __init__(
        self,
        options: Options,
        *,
        credentials: Credentials = ANONYMOUS,
        health: Health | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open no connection yet."""
        self.options = options
        self.health = health
        self._connections = Connections(options)
        self._authoriser = Authoriser(self._connections, credentials, clock=clock)
        self._strangers = Authoriser(self._connections, ANONYMOUS, clock=clock)

    @contextmanager
    def send(self, endpoint: Endpoint, request: Request, *, repository: str) -> Iterator[Response]:
        """Send a request about a repository to an endpoint, at most twice: a challenge is answered once.

        Raises:
            UnauthorizedError: there are no credentials to answer with.
            UnavailableError: the registry, or its token service, does not answer.
            InvalidError: an answer breaks a rule.
        """
        sent = self._authoriser.known(endpoint, repository)
        with follow(self._connections, _proved(endpoint, request, sent)) as response:
            if response.status != HTTPStatus.UNAUTHORIZED:
                response.advice = sent.advice if sent else ""
                yield response
                return
            asked = response.request
            challenges = parse_challenges(response.every("WWW-Authenticate"))
            refusal = Refusal(challenges, asked.header("Authorization"), response.reach, asked.limit)
        if asked.url.origin == endpoint.base.origin:
            grant = self._authoriser.answer(endpoint, repository, refusal)
            again = _proved(endpoint, request, grant)
        else:
            stranger = Endpoint(
                asked.url.at("/v2"),
                asked.url.authority,
                endpoint.domain,
                tls=asked.tls,
                timeouts=asked.timeouts,
                proxy=asked.proxy,
            )
            grant = self._strangers.answer(stranger, repository, refusal)
            again = replace(asked, private=(("Authorization", grant.header),))
        with follow(self._connections, again) as response:
            response.advice = grant.advice
            yield response

    def send_as_nobody(self, request: Request) -> AbstractContextManager[Response]:
        """Send a request as it is: nothing is added that proves who we are, and no challenge is answered."""
        return follow(self._connections, request)

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


def _proved(endpoint: Endpoint, request: Request, proof: Grant | None) -> Request:
    """Return a request with what only this endpoint may see."""
    authorization = () if proof is None else (("Authorization", proof.header),)
    private = (*endpoint.headers, *authorization)
    return replace(request, private=private, tls=endpoint.tls, timeouts=endpoint.timeouts, proxy=endpoint.proxy)
