"""Connect a process that runs flows to a Prefect API: the one that Prefect's settings name, or the store's own."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.chosen import choosing
from config.home import home_or_default, process_environment
from flows.local_server.ensure import begin, environment
from flows.local_server.keep import supervised
from flows.local_server.named import may_be_named
from flows.local_server.proxies import bypass, direct
from flows.local_server.record import Record, living
from flows.local_server.runs import noting
from flows.orchestration import LEAN, adopted, lightened, read_again
from flows.sharing import Shared
from prestow.errors import CancelledError, PrestowError, UnauthorizedError, UnavailableError, printable

if TYPE_CHECKING:
    from prefect._internal.concurrency.services import QueueService

_PATIENCE = 10.0
_ATTEMPTS = 30  # of the events' client, a second each: as long as Prefect's other client asks
_LOCAL = "local"

_CONNECTION = Shared[str]()
"""The API of this process."""


@contextmanager
def connected(home: str | Path | None = None, *, announce: Callable[[str], object] | None = None) -> Iterator[str]:
    """Run flows of a store in this block: it is their default store, and a Prefect API records their runs.

    The API is the one that Prefect's settings name, else the store's own server, which is started if need be. A
    process uses one API at a time: a block within another one, or in another thread meanwhile, has its own store and
    the API of the first. Yield the URL of the API. The last block to end sends waiting events and logs, and puts
    environment and Prefect's settings back.

    Args:
        home: the store's directory; the host's default if not given.
        announce: called with a sentence for a person before what takes seconds: the start of the server.

    Raises:
        UnavailableError: the local server did not start, or the API does not answer.
        UnauthorizedError: the API wants other credentials.
        CancelledError: a flow of the block was cancelled, or a person refused to approve of it.
    """
    store = Path(home_or_default(home))
    with choosing(store), _CONNECTION.shared(lambda: _visited(store, announce)) as url, _runs_of(store, url):
        yield url


@contextmanager
def using_api(home: Path, *, announce: Callable[[str], object] | None = None) -> Iterator[str]:
    """Connect a process that ends after this block; its flows are told their store. See :func:`connected`."""
    with _CONNECTION.shared(lambda: _opened(home, announce)) as url, _runs_of(home, url):
        yield url


@contextmanager
def _visited(home: Path, announce: Callable[[str], object] | None) -> Iterator[str]:
    """Connect this process for a while; what the block itself changes in its environment stays changed."""
    env = process_environment()
    before, ours = dict(env), dict[str, str]()
    try:
        with _opened(home, announce) as url:
            ours = _changes(before, env)
            try:
                yield url
            finally:
                _drain_log()
    finally:
        for name, value in (ours or _changes(before, env)).items():
            if env.get(name) == value:
                del env[name]
                env.update({name: before[name]} if name in before else {})
        read_again(env)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that were set in between, as they are now."""
    return {name: value for name, value in after.items() if before.get(name) != value}


@contextmanager
def _opened(home: Path, announce: Callable[[str], object] | None) -> Iterator[str]:
    """Lead this process to its API, by its environment, which Prefect reads and child processes inherit."""
    env, read_before = process_environment(), "prefect" in sys.modules
    for name, value in LEAN.items():
        env.setdefault(name, value)
    own = not may_be_named(env, Path.cwd())
    if own:
        _begin(home, announce)  # there is something to import meanwhile
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    with ExitStack() as around:
        server = around.enter_context(supervised(home)) if own else None
        if server is not None:
            env.update(environment(server))
        if not read_before:
            refresh_global_settings_context()
        elif server is None or not adopted(env, server):
            read_again(env)
        if get_current_settings().api.url is None:
            _begin(home, announce)
            env.update(environment(around.enter_context(supervised(home))))
            refresh_global_settings_context()
        url = str(lightened().api.url)
        env.update(bypass(env, url))
        around.enter_context(direct(url))
        around.enter_context(_events_sent(home, url))
        yield url


@contextmanager
def _events_sent(home: Path, url: str) -> Iterator[None]:
    """Send the events that wait before the block ends."""
    from prefect.events.clients import PrefectEventsClient
    from prefect.events.worker import EventsWorker

    logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # it warns of events that wait, and sends them
    if _lasting_name(home, url) == _LOCAL:  # another server of the store may take longer to come than the client asks
        EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=_ATTEMPTS)
    try:
        yield
    finally:
        _drain(EventsWorker)
        EventsWorker.set_client_override(None)


def _drain(service: "type[QueueService[Any]]") -> None:
    """Send what waits in one of Prefect's queues; in a thread, because in an event loop Prefect would not wait."""
    draining = threading.Thread(target=service.drain_all, kwargs={"timeout": _PATIENCE, "at_exit": False})
    draining.start()
    draining.join()


def _drain_log() -> None:
    from prefect.logging.handlers import APILogWorker

    _drain(APILogWorker)


@contextmanager
def _runs_of(home: Path, url: str) -> Iterator[None]:
    """Use one client in this block, and note its runs."""
    from httpx import TransportError
    from prefect.context import SyncClientContext
    from prefect.exceptions import CancelledRun, PrefectHTTPStatusError

    from flows.runs.crashed import mark_crashed

    api = _lasting_name(home, url)
    try:
        with SyncClientContext.get_or_create(), noting(home, api):
            mark_crashed(home, api)
            yield
    except CancelledRun as error:
        raise CancelledError(str(error)) from error
    except TransportError as error:
        # the engine lets no such error out: what comes here is Prefect's own client, after its retries
        raise UnavailableError(f"the Prefect API at {url} does not answer: {error}") from error
    except PrefectHTTPStatusError as error:
        raise _refused(url, error.response.status_code, error.response.text) from error


def _begin(home: Path, announce: Callable[[str], object] | None) -> None:
    """Start the store's own server unless it runs: it has something to read for as long as we have."""
    if living(home) is None:
        if announce is not None:
            announce("starting the Prefect server of this store; it stays for the next command")
        begin(home)


def _lasting_name(home: Path, url: str) -> str:
    """Name an API for as long as it is the same: the store's own server, wherever it listens, or what is at a URL."""
    own = Record.read(home / "prefect")
    return _LOCAL if own is not None and own.server(home).url == url else url


def _refused(url: str, status_code: int, text: str) -> PrestowError:
    """Say what an answer means that the API gave instead of the right one."""
    if status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        wanted = "set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY, to what it wants"
        return UnauthorizedError(f"the Prefect API at {url} refused us ({status_code}); {wanted}")
    return UnavailableError(f"the Prefect API at {url} answered {status_code}: {printable(text)}")
