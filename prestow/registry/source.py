"""Where images come from: a name becomes a descriptor, a descriptor becomes bytes.

    resolve()          ─→ descriptor          of the index or manifest that the name points to at this moment
    fetch(descriptor)  ─→ bytes               unverified: who asked for them hashes them

Two implementations: a registry over HTTP (``registry.py``), and a layout or archive on disk (``layout_source.py``).
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self

from prestow.errors import InvalidError, UnsupportedError
from prestow.oci.descriptor import Descriptor
from prestow.reference import LayoutReference, Reference
from prestow.registry.archive import Scratch
from prestow.registry.credentials import ANONYMOUS, Credential, Credentials, FindNamed, Named
from prestow.registry.health import Health
from prestow.registry.hosts import Options
from prestow.registry.layout_source import Layouts, LayoutSource
from prestow.registry.pacing import Pacing
from prestow.registry.quota import Quota
from prestow.registry.ranges import Parts

if TYPE_CHECKING:
    from prestow.registry.client import Client
    from prestow.registry.registry import RegistrySource


class Resolver(Protocol):
    """Knows what a name points to."""

    def resolve(self) -> Descriptor:
        """Return the descriptor of the index or manifest, without platform chosen.

        Raises:
            NotFoundError: there is none of that name.
            UnauthorizedError: who we are may not know.
            UnavailableError: no server answers.
            InvalidError: the answer breaks a rule.
        """


class Fetcher(Protocol):
    """Gives the bytes of what a descriptor names."""

    def fetch(
        self, descriptor: Descriptor, offset: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open the bytes from ``offset`` on, up to ``end`` if given; they may turn out to be others, fewer, or more.

        Raises:
            RangeError: with ``end``: the server gives no parts, or another one.
            NotFoundError: they are not there.
            UnauthorizedError: who we are may not have them.
            UnavailableError: no server answers; while reading: the connection broke, resume at the new offset.
            MismatchError: there are not as many as the descriptor says.
            InvalidError: the answer breaks a rule.
        """

    def parts(self, descriptor: Descriptor) -> Parts:
        """Return how a blob is best fetched."""

    def reject(self, descriptor: Descriptor) -> bool:
        """Take note that the bytes were others; whether another server is asked the next time."""


class Source(Resolver, Fetcher, Protocol):
    """Both, for one reference.

    Attributes:
        server: ``host[:port]`` that answered :meth:`resolve`; None before, and of what is no server.
        quota: the registry's latest word on how many requests are left.
    """

    server: str | None
    quota: Quota | None


class Sources:
    """Opens sources; one a process, since connections and tokens are kept from one to the next.

    Args:
        options: how registries are spoken to.
        credentials: who we are to them.
        health: which mirrors are set aside.
        pacing: what each server is asked to bear.
        scratch: where compressed archives are decompressed to.

    Attributes:
        find_named: reads named credentials; the edge sets it, since these are blocks at the Prefect API.
    """

    def __init__(
        self,
        options: Options,
        *,
        credentials: Credentials = ANONYMOUS,
        health: Health | None = None,
        pacing: Pacing | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        """Open nothing yet."""
        self._layouts = Layouts(scratch)
        self._options = options
        self._credentials = replace(credentials, find_named=self._find_named)
        self._health = health
        self._pacing = pacing
        self.find_named: FindNamed = credentials.find_named
        self._lock = threading.Lock()
        self._client: Client | None = None

    def open(self, reference: Reference | LayoutReference, credentials: str | None = None) -> Source:
        """Return the source of a reference; nothing is asked yet.

        ``credentials`` are a name, for the reference's own registry and for none of its mirrors.
        """
        return (
            LayoutSource(reference, self._layouts)
            if isinstance(reference, LayoutReference)
            else self._registry(reference, credentials)
        )

    def tags(self, reference: Reference) -> tuple[str, ...]:
        """List the tags of a reference's repository; raises as :func:`prestow.registry.tags.list_tags`."""
        return self._registry(reference).tags()

    def _registry(self, reference: Reference, credentials: str | None = None) -> "RegistrySource":
        from prestow.registry.client import Client
        from prestow.registry.registry import RegistrySource

        with self._lock:
            if self._client is None:
                self._client = Client(
                    self._options, credentials=self._credentials, health=self._health, pacing=self._pacing
                )
            return RegistrySource(reference, self._client, credentials or "")

    def check_named(self, credentials: str, *, bound: bool) -> None:
        """Check that there are credentials of a name; if ``bound``, that they say which registry they are for.

        Raises:
            PrestowError: as ``find_named``.
            InvalidError: they do not say which registry they are for.
        """
        if not self.find_named(credentials).registry and bound:
            raise InvalidError(
                f"credentials {credentials} are for any registry, and several may be asked here: "
                "set their registry, so that no other one gets them"
            )

    def check_login(self, domain: str, credential: Credential) -> None:
        """Show a credential to the registry of a domain, and to none of its mirrors.

        Raises:
            UnsupportedError: the registry answers without credentials.
            PrestowError: as :func:`prestow.registry.login.check_login`.
        """
        from prestow.registry.login import check_login

        if not check_login(self._options, domain, credential):
            raise UnsupportedError(
                f"login at {domain}: it answers without credentials, so it checks none; pull an image that needs them"
            )

    def _find_named(self, name: str) -> Named:
        return self.find_named(name)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()

    def __enter__(self) -> Self:
        """Return the sources themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
