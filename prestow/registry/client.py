"""The client: requests to endpoints, with redirects followed and challenges answered.

One a process: it keeps connections and tokens between requests, for all threads.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus

from prestow.registry.auth import Authoriser, Refusal
from prestow.registry.challenge import parse_challenges
from prestow.registry.credentials import FindCredential, anonymous
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.http import Connections, Request, Response
from prestow.registry.redirects import follow


class Client:
    """Speaks to registries.

    Args:
        options: how; see there.
        credentials: who we are to each of them.
        clock: monotonic, in seconds; tokens expire by it.
    """

    def __init__(
        self,
        options: Options,
        *,
        credentials: FindCredential = anonymous,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open no connection yet."""
        self.options = options
        self._connections = Connections(options)
        self._authoriser = Authoriser(self._connections, credentials, clock=clock)

    @contextmanager
    def send(self, endpoint: Endpoint, request: Request, *, scope: str) -> Iterator[Response]:
        """Send a request to an endpoint, at most twice: a challenge is answered once.

        Raises:
            UnauthorizedError: there are no credentials to answer with.
            UnavailableError: the registry, or its token service, does not answer.
            InvalidError: an answer breaks a rule.
        """
        sent = self._authoriser.known(endpoint, scope)
        with follow(self._connections, _proved(endpoint, request, sent)) as response:
            if response.status != HTTPStatus.UNAUTHORIZED or response.request.url.origin != endpoint.base.origin:
                yield response
                return
            challenges = parse_challenges(response.every("WWW-Authenticate"))
            refusal = Refusal(challenges, sent, response.reach)
        proof = self._authoriser.answer(endpoint, scope, refusal)
        with follow(self._connections, _proved(endpoint, request, proof)) as response:
            yield response

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


def _proved(endpoint: Endpoint, request: Request, proof: str | None) -> Request:
    """Give a request with what only this endpoint may see."""
    authorization = () if proof is None else (("Authorization", proof),)
    return replace(request, private=(*endpoint.headers, *authorization), tls=endpoint.tls)
