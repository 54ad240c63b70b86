"""What a read-only registry answers, without its sockets (distribution-spec 1.1, "Pull").

    /v2/                                     {}
    /v2/<repository>/manifests/<reference>   by tag or digest
    /v2/<repository>/blobs/<digest>          with single ranges
    everything else                          404, with an error of the specification's form

A path is taken apart before anything is looked up: a repository and a tag by their grammar, a digest by its own, so
nothing of it can be a path on disk. A repository may mean several stored names, tried in this order:

    ?ns=<domain>     the repository on that registry: how containerd and others ask a mirror
    <domain>/<path>  a repository that begins with a domain
    <path>           on docker.io (one word alone in its library), then on localhost
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import parse_qs, unquote

from prestow.content.store import Provider
from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, PrestowError, UnsupportedError
from prestow.oci.descriptor import Descriptor
from prestow.oci.walk import parse_document
from prestow.reference import LAYOUT_DOMAIN, Reference, has_domain
from prestow.registry.ranges import parse_range

FindImage = Callable[[str], Descriptor]
"""Gives what a canonical image name points to; raises ``NotFoundError``."""

_API = re.compile(r"/v2/?")
_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, to ``GET`` with its body and to ``HEAD`` without.

    Attributes:
        status: the HTTP status.
        headers: all but those of the connection; ``Content-Length`` is among them.
        body: a document, or nothing.
        blob: an open file whose bytes ``start`` to ``end`` are the body instead; the receiver closes it.
        start: offset of the first byte of the blob.
        end: offset after the last.
    """

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    blob: BinaryIO | None = None
    start: int = 0
    end: int = 0


class PullApi:
    """Answers for a store.

    Args:
        images: the names.
        content: the blobs.
    """

    def __init__(self, images: FindImage, content: Provider) -> None:
        """Look at nothing yet."""
        self._images = images
        self._content = content

    def answer(self, target: str, wanted_range: str | None = None) -> Answer:
        """Answer a request for a path with its query, of a blob perhaps only a range."""
        path, _, query = target.partition("?")
        path = unquote(path) if len(target) <= _LONGEST else ""
        if _API.fullmatch(path):
            return _document(b"{}", "application/json")
        route = _ROUTE.fullmatch(path)
        if route is None:
            return error_answer(HTTPStatus.NOT_FOUND, "UNSUPPORTED", "this registry serves manifests and blobs only")
        repository, kind, reference = route.groups()
        try:
            if kind == "blobs":
                return self._blob(Digest.parse(reference), wanted_range)
            return self._manifest(repository, reference, parse_qs(query).get("ns", [])[:1])
        except PrestowError as error:
            return _refusal(error, kind)

    def _manifest(self, repository: str, reference: str, namespace: list[str]) -> Answer:
        digest = Digest.parse(reference) if ":" in reference else self._target(repository, reference, namespace)
        raw = self._content.read(digest)
        try:
            media_type = parse_document(raw, None).media_type
        except PrestowError as error:
            raise NotFoundError(f"{digest} is here, but is no manifest") from error
        return _document(raw, media_type, ("Docker-Content-Digest", digest))

    def _target(self, repository: str, tag: str, namespace: list[str]) -> Digest:
        for name in candidate_names(repository, tag, namespace):
            with suppress(NotFoundError):
                return self._images(name).digest
        raise NotFoundError(f"no image {repository}:{tag}")

    def _blob(self, digest: Digest, wanted: str | None) -> Answer:
        file = self._content.open(digest)
        size = os.fstat(file.fileno()).st_size
        about: tuple[tuple[str, str], ...] = (("Docker-Content-Digest", digest), ("Accept-Ranges", "bytes"))
        selected = parse_range(wanted, size) if wanted else (0, size)
        if selected is None:
            file.close()
            headers = (*about, ("Content-Range", f"bytes */{size}"), ("Content-Length", "0"))
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
        start, end = selected
        headers = (*about, ("Content-Type", "application/octet-stream"), ("Content-Length", str(end - start)))
        if selected == (0, size):
            return Answer(HTTPStatus.OK, headers, blob=file, end=size)
        headers = (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        return Answer(HTTPStatus.PARTIAL_CONTENT, headers, blob=file, start=start, end=end)


def candidate_names(repository: str, tag: str, namespace: list[str]) -> Iterator[str]:
    """Yield the canonical names that a repository and a tag may mean here.

    Raises:
        InvalidError: the repository or the tag breaks its grammar.
    """
    if namespace:
        yield str(Reference(namespace[0], repository, tag))
        return
    if has_domain(repository):
        domain, _, path = repository.partition("/")
        yield str(Reference(domain, path, tag))
    else:
        yield str(Reference.parse(f"{repository}:{tag}"))
        yield str(Reference(LAYOUT_DOMAIN, repository, tag))


def error_answer(status: HTTPStatus, code: str, message: str) -> Answer:
    """Return an error in the specification's form."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return _document(body, "application/json", status=status)


def _refusal(error: PrestowError, kind: str) -> Answer:
    """Return the answer that an error of ours stands for."""
    if isinstance(error, NotFoundError):
        code = "BLOB_UNKNOWN" if kind == "blobs" else "MANIFEST_UNKNOWN"
        return error_answer(HTTPStatus.NOT_FOUND, code, "not in this store")
    if isinstance(error, InvalidError | UnsupportedError):
        code = "DIGEST_INVALID" if kind == "blobs" else "NAME_INVALID"
        return error_answer(HTTPStatus.BAD_REQUEST, code, str(error))
    return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN", type(error).__name__)


def _document(body: bytes, media_type: str, *headers: tuple[str, str], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    about = (("Content-Type", media_type), ("Content-Length", str(len(body))))
    return Answer(status, (*about, ("Docker-Distribution-API-Version", "registry/2.0"), *headers), body)
