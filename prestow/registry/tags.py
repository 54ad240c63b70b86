"""The tags of a repository, page after page (distribution-spec 1.1, "Listing Tags").

    GET /v2/<repository>/tags/list?n=1000     {"name": …, "tags": [ … ]}
    Link: </v2/…?n=1000&last=TAG>; rel="next"

Of a link only the query is used, with the path that was asked before: servers behind a proxy name paths, hosts and
schemes that lead nowhere, and a hostile one could name those of others.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus

from prestow.errors import ExhaustedError, InvalidError, NotFoundError, printable
from prestow.oci.document import MAX_DOCUMENT, Record, load
from prestow.reference import is_tag
from prestow.registry.failure import failure
from prestow.registry.http import Response

MOST_TAGS = 100_000
"""Tags of one repository beyond which its list is refused."""
MOST_PAGES = 1_000
"""Pages of one list, likewise."""

_FIRST = "n=1000"  # what registries limit a page to; without it some send a list of any length
_FIELDS = frozenset({"name", "tags"})
_LINK = re.compile(r"<([^<>]*)>((?:\s*;[^,<]*)*)")
_NEXT = re.compile(r";\s*rel\s*=\s*\"?\s*(?:[^\";]*\s)?next(?:\s[^\";]*)?\"?\s*(?:;|$)", re.IGNORECASE)
_QUERY = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)


def list_tags(
    ask: Callable[[str], AbstractContextManager[Response]], repository: str, *, required: bool
) -> tuple[str, ...]:
    """Return all tags, each once, in the server's order.

    Args:
        ask: gives a server's answer for a path below the repository, with its query.
        repository: names it in errors.
        required: whether to have none is an error, as it is of a mirror.

    Raises:
        NotFoundError: the server does not have the repository, or, if ``required``, no tag of it.
        InvalidError: an answer is no list of tags, or its pages have no end.
        ExhaustedError: there are too many tags or pages, or a page is too large.
        UnauthorizedError: who we are may not have it.
        UnavailableError: the server does not answer.
    """
    tags: dict[str, None] = {}
    asked: set[str] = set()
    query: str | None = _FIRST
    while query is not None:
        asked.add(query)
        with ask(f"tags/list?{query}") as response:
            if response.status != HTTPStatus.OK:
                raise failure(response, f"tags of {repository}")
            what = f"{response.request.url}"
            tags.update(dict.fromkeys(_page(response, what)))
            query = _next(response.every("Link"), what)
        if query in asked:
            raise InvalidError(f"{what}: the list of tags leads back to a page that was read already")
        if len(tags) > MOST_TAGS or len(asked) >= MOST_PAGES:
            raise ExhaustedError(f"{what}: more than {MOST_TAGS} tags or {MOST_PAGES} pages; name the tag instead")
    if required and not tags:
        raise NotFoundError(f"tags of {repository}: {what} has none")
    return tuple(tags)


def _page(response: Response, what: str) -> tuple[str, ...]:
    tags = Record.of(load(response.read(MAX_DOCUMENT), what), what, _FIELDS).texts("tags")
    for tag in tags:
        if not is_tag(tag):
            raise InvalidError(f"{what}: expected tags, found {printable(tag)!r}")
    return tags


def _next(links: tuple[str, ...], what: str) -> str | None:
    """Return the query of the next page; None after the last one."""
    for target, parameters in _LINK.findall(", ".join(links)):
        if _NEXT.search(parameters):
            query = target.partition("#")[0].partition("?")[2]
            if not _QUERY.fullmatch(query):
                raise InvalidError(f"{what}: the link to the next page of tags has no usable query")
            return str(query)
    return None
