"""Foreign layers: blobs that a registry need not have, as the image names URLs for them (image-spec, descriptor.md).

The registry is asked first. If it lacks the blob, the URLs are asked whose hosts the operator allowed, one after the
other: over https only, redirects included; with nothing that proves who we are, so that no challenge is answered; at
public addresses only, unless the host is one of ``Options.trusted``. The digest decides over the bytes, as always.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from prestow.errors import CancelledError, InvalidError, NotFoundError, PrestowError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import is_foreign
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.http import Headers, Request
from prestow.registry.network import Reach
from prestow.registry.url import Url

_T = TypeVar("_T")

_MOST = 10  # URLs that are looked at


def first_foreign(
    descriptor: Descriptor, options: Options, attempt: Callable[[Endpoint], _T], lacking: NotFoundError
) -> tuple[Endpoint, _T]:
    """Return the first allowed server that answers for one of a blob's URLs, and its answer.

    Args:
        descriptor: the blob.
        options: which hosts are allowed.
        attempt: asks an endpoint, whose ``base`` is the URL.
        lacking: what the registry said.

    Raises:
        NotFoundError: ``lacking`` itself if the blob is not foreign; else, no URL is allowed, and how to allow one.
        PrestowError: the failure of the first server that was allowed.
    """
    if not (descriptor.urls or is_foreign(descriptor.media_type)):
        raise lacking
    urls = list(_urls(descriptor))
    failed: PrestowError | None = None
    for url in (url for url in urls if url.host in options.foreign):
        endpoint = Endpoint(url, url.authority, url.authority, tls=options.tls.for_others(), foreign=True)
        try:
            return endpoint, attempt(endpoint)
        except CancelledError:
            raise
        except PrestowError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    hosts = " and ".join(dict.fromkeys(url.host for url in urls))
    remedy = "the image names no https URL for it; pull it from a registry that has the layer"
    if hosts:
        remedy = f"the image names URLs at {hosts}; to fetch it from there, add that host to foreign_layer_hosts"
    raise NotFoundError(f"{lacking}; it is a foreign layer, which registries need not have: {remedy}") from lacking


def foreign_request(endpoint: Endpoint, headers: Headers, options: Options) -> Request:
    """Return the request for a URL that an image names."""
    url = endpoint.base
    limit = None if url.host in options.trusted else Reach.PUBLIC
    return Request("GET", url, headers, tls=endpoint.tls, limit=limit, streams=True, https_only=True)


def _urls(descriptor: Descriptor) -> Iterator[Url]:
    """Yield the https URLs of a descriptor; others are passed over."""
    for text in descriptor.urls[:_MOST]:
        with suppress(InvalidError):
            url = Url.parse(text)
            if url.scheme == "https":
                yield url
