"""A registry as a source (distribution-spec 1.1, "Pull").

    resolve   HEAD /v2/<repository>/manifests/<tag or digest>      GET where HEAD does not tell enough
    tags      GET  /v2/<repository>/tags/list                      page after page
    fetch     GET  /v2/<repository>/manifests/<digest>
              GET  /v2/<repository>/blobs/<digest>                 Range: bytes=<offset>-<end> for a part

Mirrors are asked first; the registry's own answer is the one that counts if all fail. A mirror that fails is set aside
(``health``): the others are asked, and it again only where the registry itself gives no answer. One that breaks off
within a blob is replaced by the next server at the byte reached; after other bytes, the blob is asked for anew.

A tag is asked for once: from then on everything goes by digest, and a tag that moves meanwhile changes nothing. A part
is taken only if it is exactly the part that was asked for; otherwise the whole is asked for, and what is known already
is left out.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from prestow.errors import (
    CancelledError,
    MismatchError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
)
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import INDEXES, MANIFESTS
from prestow.reference import Reference
from prestow.registry.answers import DOCUMENTS, described, read
from prestow.registry.client import Client
from prestow.registry.endpoints import endpoints
from prestow.registry.failure import failure
from prestow.registry.foreign import first_foreign, foreign_request
from prestow.registry.hosts import Capability, Endpoint
from prestow.registry.http import Headers, Request, Response
from prestow.registry.notices import report_warnings
from prestow.registry.quota import Quota, parse_quota
from prestow.registry.ranges import Parts, RangeError, is_part, without
from prestow.registry.statuses import PATIENCE
from prestow.registry.tags import list_tags

if TYPE_CHECKING:
    from prestow.digest import Digest

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_ACCEPT: Headers = (("Accept", ", ".join((*MANIFESTS, *INDEXES, "*/*"))),)
_HEAD_TELLS_LITTLE = frozenset({400, 403, 405, 406, 501})


class RegistrySource:
    """Implements ``prestow.registry.source.Source`` for one reference.

    Args:
        reference: what to pull; a digest in it counts, and its tag does not.
        client: the process's client.
        credentials: name of those for the registry itself, in the place of those that its hosts file names.
    """

    def __init__(self, reference: Reference, client: Client, credentials: str = "") -> None:
        """Ask nothing yet."""
        self._reference = reference
        self._client = client
        self.server: str | None = None
        self.quota: Quota | None = None
        self._credentials = credentials
        self._gave: dict[Digest, list[Endpoint]] = {}
        self._rejected: set[str] = set()

    def resolve(self) -> Descriptor:
        """Ask what the reference points to."""
        endpoint, found = self._first("resolve", self._resolve_at, set())
        self._succeeded(endpoint)
        self.server = endpoint.name
        return found

    def tags(self) -> tuple[str, ...]:
        """List the tags of the repository: those of the first server that has any; raises as :func:`list_tags`."""
        endpoint, found = self._first("resolve", self._tags_at, set())
        self._succeeded(endpoint)
        return found

    @contextmanager
    def fetch(self, descriptor: Descriptor, offset: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Open the bytes from ``offset`` on; with ``end`` those before it alone, which not every server can give."""
        with ExitStack() as stack:
            tried: set[str] = set()

            def opened(at: int, failed: PrestowError | None = None) -> tuple[Endpoint, Iterator[bytes]]:
                def attempt(endpoint: Endpoint) -> Iterator[bytes]:
                    stack.close()  # one connection at a time
                    return stack.enter_context(self._fetch_at(endpoint, descriptor, at, end))

                try:
                    return self._first("pull", attempt, tried, failed)
                except NotFoundError as error:
                    return first_foreign(descriptor, self._client.options, attempt, error)

            yield self._over_servers(opened, descriptor, (offset, end or descriptor.size), *opened(offset))

    def parts(self, descriptor: Descriptor) -> Parts:
        """Return over how many connections a blob is fetched: one, unless it is large."""
        options, connections = self._client.options, self._in_order("pull")[0].connections
        large = descriptor.size >= options.parallel_from and connections > 1
        return Parts(connections, options.chunk) if large else Parts(1, descriptor.size)

    def reject(self, descriptor: Descriptor) -> bool:
        """Set aside the mirrors that sent bytes of a blob; False if none did, or if there is no other server."""
        mirrors = [endpoint for endpoint in self._gave.pop(descriptor.digest, ()) if endpoint.is_mirror]
        for mirror in mirrors:
            self._failed(mirror, MismatchError(f"it sent other bytes than those of {descriptor.digest}"))
        origins = {mirror.base.origin for mirror in mirrors}
        if all(endpoint.base.origin in origins for endpoint in self._in_order("pull")):
            return False
        self._rejected |= origins
        return bool(mirrors)

    def _over_servers(
        self,
        opened: Callable[[int, PrestowError], tuple[Endpoint, Iterator[bytes]]],
        descriptor: Descriptor,
        span: tuple[int, int],
        endpoint: Endpoint,
        chunks: Iterator[bytes],
    ) -> Iterator[bytes]:
        """Yield the bytes of one server; where a mirror breaks off, continue with those of the next server."""
        at, end = span
        gave = self._gave.setdefault(descriptor.digest, [])
        while True:
            gave.append(endpoint)
            try:
                for chunk in chunks:
                    at += len(chunk)
                    yield chunk
            except UnavailableError as error:
                if not endpoint.is_mirror:
                    raise
                broken = error
            else:
                if at >= end or not endpoint.is_mirror:
                    self._succeeded(endpoint)
                    return
                what = f"{descriptor.digest} from {endpoint.name}"
                broken = UnavailableError(f"{what}: ended at byte {at} of {descriptor.size}")
            self._failed(endpoint, broken)
            endpoint, chunks = opened(at, broken)

    def _first(
        self,
        capability: Capability,
        attempt: Callable[[Endpoint], _T],
        tried: set[str],
        failed: PrestowError | None = None,
    ) -> tuple[Endpoint, _T]:
        """Return the first server, of those not tried yet, that answers, and its answer.

        Raises:
            PrestowError: none does; the registry's own failure, else that of the first mirror, or the one before.
        """
        for endpoint in self._in_order(capability):
            if endpoint.base.origin in tried:
                continue
            tried.add(endpoint.base.origin)
            try:
                return endpoint, attempt(endpoint)
            except (CancelledError, RangeError):
                raise
            except PrestowError as error:
                if endpoint.is_mirror:
                    failed = failed or error
                    self._failed(endpoint, error)
                elif isinstance(error, UnavailableError):
                    failed = error
                else:
                    raise
        raise failed or UnavailableError(f"{self._reference.domain}: its servers were all tried; pull again")

    def _in_order(self, capability: Capability) -> list[Endpoint]:
        """Return the servers to ask; mirrors that are set aside come last, behind the registry itself."""
        found = endpoints(self._reference.domain, self._client.options, capability, self._credentials)
        found = tuple(each for each in found if not (each.is_mirror and each.base.origin in self._rejected))
        return sorted(found, key=lambda endpoint: endpoint.is_mirror and self._is_aside(endpoint))

    def _is_aside(self, endpoint: Endpoint) -> bool:
        health = self._client.health
        if self._client.pacing.resting(endpoint) is not None:
            return True
        return health is not None and health.aside(endpoint.base.origin) is not None

    def _failed(self, endpoint: Endpoint, error: PrestowError) -> None:
        """Set a mirror aside, unless it only lacks the thing, or does not give it to us."""
        _log.info("mirror %s passed over: %s", endpoint.name, error)
        if self._client.health is not None and not isinstance(error, NotFoundError | UnauthorizedError):
            self._client.health.set_aside(endpoint.base.origin, str(error))

    def _succeeded(self, endpoint: Endpoint) -> None:
        if self._client.health is not None and endpoint.is_mirror:
            self._client.health.succeed(endpoint.base.origin)

    def _resolve_at(self, endpoint: Endpoint) -> Descriptor:
        pinned = self._reference.digest
        place = f"manifests/{pinned or self._reference.tag}"
        with self._ask(endpoint, "HEAD", place, _ACCEPT) as response:
            if response.status == HTTPStatus.OK:
                self._hear(response)
                found = described(response, pinned)
                if found is not None:
                    return found
            elif response.status not in _HEAD_TELLS_LITTLE:
                refusal = failure(response, str(self._reference))
                if (refusal.retry_after or 0) <= PATIENCE:
                    raise refusal
                # so long a wait deserves the registry's own words, which an answer to HEAD has no body for
        with self._ask(endpoint, "GET", place, _ACCEPT) as response:
            if response.status != HTTPStatus.OK:
                raise failure(response, str(self._reference))
            self._hear(response)
            return read(response, pinned)

    def _tags_at(self, endpoint: Endpoint) -> tuple[str, ...]:
        return list_tags(
            lambda place: self._ask(endpoint, "GET", place, ()), self._reference.name, required=endpoint.is_mirror
        )

    def _hear(self, response: Response) -> None:
        """Take note of what an answer says of the quota."""
        self.quota = parse_quota(response.every) or self.quota

    @contextmanager
    def _fetch_at(
        self, endpoint: Endpoint, descriptor: Descriptor, offset: int, end: int | None
    ) -> Iterator[Iterator[bytes]]:
        part: Headers = ()
        if offset or end is not None:
            part = (("Range", f"bytes={offset}-{'' if end is None else end - 1}"),)
        with self._get(endpoint, descriptor, part) as response:
            start = self._start(response, descriptor, offset, end)
            if end is not None and (start is None or response.status != HTTPStatus.PARTIAL_CONTENT):
                what = f"{endpoint.name} answers {response.status} to a request for bytes {offset} to {end}"
                raise RangeError(
                    f"{what} of {descriptor.digest}", ignored=response.status != HTTPStatus.PARTIAL_CONTENT
                )
            if start is not None:
                chunks = response.stored((end or descriptor.size) - start)
                yield self._client.pacing.paced(endpoint, without(chunks, offset - start))
                return
        _log.info("%s gives no proper parts of %s; it is fetched whole", endpoint.name, descriptor.digest.short)
        with self._get(endpoint, descriptor, ()) as response:
            self._start(response, descriptor, 0, None)
            yield self._client.pacing.paced(endpoint, without(response.stored(descriptor.size), offset))

    def _start(self, response: Response, descriptor: Descriptor, offset: int, end: int | None) -> int | None:
        """Return the offset at which the answer's bytes begin; ``None`` if they are not the part asked for."""
        if response.status == HTTPStatus.OK:
            if descriptor.media_type in DOCUMENTS:  # a blob may come from a server of another owner
                self._hear(response)
            if response.length not in (None, descriptor.size):
                raise MismatchError(
                    f"{descriptor.digest} in {self._reference.name}: expected {descriptor.size} bytes, "
                    f"{response.request.url.origin} has {response.length}{response.label}"
                )
            return 0
        in_part, end = bool(offset) or end is not None, end or descriptor.size
        if response.status == HTTPStatus.PARTIAL_CONTENT:  # caches that fetch in slices send it for the whole, too
            ranges = response.every("Content-Range")
            exact = len(ranges) == 1 and is_part(ranges[0], offset, end, descriptor.size)
            if exact and response.length in (None, end - offset):
                return offset
            if in_part:
                return None
        if in_part and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise failure(response, f"{descriptor.digest} in {self._reference.name}")

    def _get(self, endpoint: Endpoint, descriptor: Descriptor, part: Headers) -> AbstractContextManager[Response]:
        if endpoint.foreign:
            return self._client.send_as_nobody(endpoint, foreign_request(endpoint, part, self._client.options))
        if descriptor.media_type in DOCUMENTS:
            accept = (("Accept", descriptor.media_type),)
            return self._ask(endpoint, "GET", f"manifests/{descriptor.digest}", (*accept, *part))
        return self._ask(endpoint, "GET", f"blobs/{descriptor.digest}", part, streams=True)

    @contextmanager
    def _ask(
        self, endpoint: Endpoint, method: str, place: str, headers: Headers, *, streams: bool = False
    ) -> Iterator[Response]:
        url = endpoint.base.at(f"{endpoint.base.target}/{self._reference.path}/{place}")
        if endpoint.is_mirror:
            url = url.with_query(ns=endpoint.domain)
        request = Request(method, url, headers, streams=streams)
        with self._client.send(endpoint, request, repository=self._reference.path) as response:
            if response.request.url.origin == url.origin:
                report_warnings(response, endpoint.name)
            yield response
