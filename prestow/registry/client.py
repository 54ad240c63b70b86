"""The client: requests to endpoints, with redirects followed and challenges answered.

One a process: it keeps connections and tokens between requests, for all threads. Some registries only redirect to
another, which then has a challenge of its own: it is answered without credentials, which are for the first.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus

from prestow.errors import PrestowError, UnavailableError
from prestow.registry.auth import Authoriser, Grant, Refusal
from prestow.registry.challenge import parse_challenges
from prestow.registry.credentials import ANONYMOUS, Credentials
from prestow.registry.health import Health
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.http import Connections, Request, Response
from prestow.registry.pacing import Pacing, Turn
from prestow.registry.redirects import follow
from prestow.registry.statuses import error_class, retry_after

_GIVEN = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
_PLACES = 64


class Client:
    """Speaks to registries.

    Args:
        options: how; see there.
        credentials: who we are to each of them.
        health: which mirrors are set aside; none is, if not given.
        pacing: what each server is asked to bear; anything, if not given.
        clock: monotonic, in seconds; tokens expire by it.
    """

    def __init__(
        self,
        options: Options,
        *,
        credentials: Credentials = ANONYMOUS,
        health: Health | None = None,
        pacing: Pacing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open no connection yet."""
        self.options = options
        self.health = health
        self.pacing = pacing or Pacing()
        self._connections = Connections(options)
        self._places: dict[tuple[str, str, str], Request] = {}
        self._authoriser = Authoriser(self._connections, credentials, clock=clock)
        self._strangers = Authoriser(self._connections, ANONYMOUS, clock=clock)

    @contextmanager
    def send(self, endpoint: Endpoint, request: Request, *, repository: str) -> Iterator[Response]:
        """Send a request about a repository to an endpoint, at most twice: a challenge is answered once.

        Raises:
            UnauthorizedError: there are no credentials to answer with.
            UnavailableError: the registry, or its token service, does not answer, or asked to be left alone.
            InvalidError: an answer breaks a rule.
        """
        with self._turn(endpoint) as turn, self._answered(endpoint, request, repository) as response:
            if error_class(response.status) is not UnavailableError or not retry_after(response.every("Retry-After")):
                turn.accepted()
            yield response

    @contextmanager
    def _turn(self, endpoint: Endpoint) -> Iterator[Turn]:
        """Hold a connection to an endpoint; a refusal that names a wait is for all requests to it."""
        with self.pacing.turn(endpoint) as turn:
            try:
                yield turn
            except UnavailableError as error:
                if not error.retry_after:
                    raise
                why = str(error).partition(": ")[2]  # without what was asked for
                raise self.pacing.rest(endpoint, error.retry_after, why or str(error)) from error

    @contextmanager
    def _answered(self, endpoint: Endpoint, request: Request, repository: str) -> Iterator[Response]:
        """Yield the answer to a request, with a challenge answered.

        A blob's place on another server, to which the registry redirected, is asked again until it refuses.
        """
        known = (endpoint.base.origin, endpoint.credentials, request.url.target)
        if request.streams and (place := self._places.get(known)) is not None:
            try:
                with follow(self._connections, replace(place, headers=request.headers)) as response:
                    if response.status in _GIVEN:
                        yield response
                        return
            except PrestowError:
                self._places.pop(known, None)
                raise
            self._places.pop(known, None)
        with self._asked(endpoint, request, repository) as response:
            place = response.request
            if request.streams and response.status in _GIVEN and place.url.origin != endpoint.base.origin:
                while len(self._places) >= _PLACES:
                    self._places.pop(next(iter(self._places)), None)
                self._places[known] = place
            yield response

    @contextmanager
    def _asked(self, endpoint: Endpoint, request: Request, repository: str) -> Iterator[Response]:
        """Yield the endpoint's answer to a request, with redirects followed and a challenge answered."""
        sent = self._authoriser.known(endpoint, repository)
        with follow(self._connections, _proved(endpoint, request, sent)) as response:
            if response.status != HTTPStatus.UNAUTHORIZED:
                _inform(response, endpoint, sent)
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
            _inform(response, endpoint, grant)
            yield response

    @contextmanager
    def send_as_nobody(self, endpoint: Endpoint, request: Request) -> Iterator[Response]:
        """Send a request as it is: nothing is added that proves who we are, and no challenge is answered."""
        with self._turn(endpoint), follow(self._connections, request) as response:
            yield response

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


def _inform(response: Response, endpoint: Endpoint, grant: Grant | None) -> None:
    """Add to an answer what an error of it may say; an anonymous token is no secret."""
    if grant is not None:
        response.advice = grant.advice
        response.secret = grant.secret
        response.knows_secrets = bool(grant.secret or endpoint.headers)


def _proved(endpoint: Endpoint, request: Request, proof: Grant | None) -> Request:
    """Return a request with what only this endpoint may see."""
    authorization = () if proof is None else (("Authorization", proof.header),)
    private = (*endpoint.headers, *authorization)
    return replace(request, private=private, tls=endpoint.tls, timeouts=endpoint.timeouts, proxy=endpoint.proxy)
