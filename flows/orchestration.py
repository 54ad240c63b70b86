"""Connect a process that runs flows to a Prefect API: the one that Prefect's settings name, or the store's own.

Prefect is told only where nobody has told it: variables that are set stay as they are. What is set here makes a short
process light; what a service wants to have (heartbeats, a log of each step) is left to its own environment.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flows.local_server.ensure import begin, environment
from flows.local_server.keep import kept
from flows.local_server.named import may_be_named
from flows.local_server.record import Record, Server, living
from flows.local_server.runs import noting
from prestow.errors import CancelledError, PrestowError, UnauthorizedError, UnavailableError, printable

if TYPE_CHECKING:
    from prefect.settings import Settings
    from prefect.settings.models.logging import LoggingSettings

LEAN = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "8",
}
"""Fewer requests a run, no line for each step, and a bound for threads, of which Prefect would use any number."""

QUIET = {"PREFECT_LOGGING_LEVEL": LEAN["PREFECT_LOGGING_LEVEL"], "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""What keeps Prefect's log out of a terminal."""

_NOBODY = Path(__file__).parent / "local_server" / "nobody.pem"
"""An authority whose key was never kept. Each client of Prefect's reads all authorities of the world, for 20 ms, and
asks none at an API without TLS."""

_NOWHERE = "http://127.0.0.1:0/api"
_PATIENCE = 10.0
_ATTEMPTS = 30  # of the events' client, a second each: as long as Prefect's other client asks
_LOCAL = "local"


@contextmanager
def connected(
    home: str | Path, env: MutableMapping[str, str], *, announce: Callable[[str], object] | None = None
) -> Iterator[str]:
    """Run flows in this block; gives the URL of the API, and sends the events that wait before it leaves.

    Args:
        home: the store, whose own server is used, and started if need be, where no other API is named.
        env: the process's environment, which Prefect reads; changed in place.
        announce: told, in a sentence for a person, of what takes seconds: the start of the server.

    Raises:
        UnavailableError: the local server did not start, or the API does not answer.
        UnauthorizedError: the API wants other credentials.
        CancelledError: a flow of the block was cancelled, or a person refused to approve of it.
    """
    for name, value in LEAN.items():
        env.setdefault(name, value)
    own, read_before = not may_be_named(env, Path.cwd()), "prefect" in sys.modules
    if own:
        _begin(Path(home), announce)  # there is something to import meanwhile
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - the slow import
    from prefect.settings import get_current_settings  # noqa: PLC0415 - likewise

    with ExitStack() as around:
        server = around.enter_context(kept(Path(home))) if own else None
        if server is not None:
            env.update(environment(server))
        if not read_before:
            refresh_global_settings_context()
        elif server is None or not _adopted(env, server):
            read_again(env)
        if get_current_settings().api.url is None:
            _begin(Path(home), announce)
            env.update(environment(around.enter_context(kept(Path(home)))))
            refresh_global_settings_context()
        settings = lightened()
        logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # it warns of events that wait, and sends them
        around.enter_context(_client(Path(home), str(settings.api.url)))
        yield str(settings.api.url)


@contextmanager
def _client(home: Path, url: str) -> Iterator[None]:
    """Use one client in this block, note its runs, and send the events that wait before it leaves."""
    from httpx import TransportError  # noqa: PLC0415 - once Prefect is needed
    from prefect.context import SyncClientContext  # noqa: PLC0415 - likewise
    from prefect.events.clients import PrefectEventsClient  # noqa: PLC0415 - likewise
    from prefect.events.worker import EventsWorker  # noqa: PLC0415 - likewise
    from prefect.exceptions import CancelledRun, PrefectHTTPStatusError  # noqa: PLC0415 - likewise

    from flows.crashed import mark_crashed  # noqa: PLC0415 - likewise

    api = _lasting_name(home, url)
    if api == _LOCAL:  # another server of the store may take longer to come than the client asks for by itself
        EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=_ATTEMPTS)
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
    finally:
        EventsWorker.drain_all(timeout=_PATIENCE, at_exit=False)
        EventsWorker.set_client_override(None)


def _begin(home: Path, announce: Callable[[str], object] | None) -> None:
    """Start the store's own server unless it runs: it has something to read for as long as we have."""
    if living(home) is None:
        if announce is not None:
            announce("starting the Prefect server of this store; it stays for the next command")
        begin(home)


def prepared(home: Path) -> dict[str, str]:
    """Give the variables with which a process imports Prefect that may wait for commands on the store's own server."""
    return LEAN | QUIET | environment(Server(_NOWHERE, 0, "nobody:nothing", home / "prefect"))


def _adopted(env: Mapping[str, str], server: Server) -> bool:
    """Use the store's own server in a process that was prepared for it; False if anything else is set.

    Reading all of Prefect's settings again takes longer than any step of a small pull.
    """
    from prefect.settings import get_current_settings  # noqa: PLC0415 - the slow import
    from pydantic import SecretStr  # noqa: PLC0415 - likewise

    settings, expected = get_current_settings(), LEAN | QUIET | environment(server)
    found = {name: env[name] for name in env if name in expected or name.upper().startswith("PREFECT_")}
    for_it = settings.api.url == _NOWHERE and settings.home == server.directory
    if not for_it or found != expected or settings.profiles_path.exists():
        return False
    settings.api.url, settings.api.auth_string = server.url, SecretStr(server.auth)
    settings.ui_url = expected["PREFECT_UI_URL"]
    return True


def lightened(*, heartbeats: bool = False) -> "Settings":
    """Give Prefect's settings, made those of a process that is there for one run, but for what somebody has set.

    Runs of a terminal or a program send no ``heartbeats``: this host notes their process, and tells when it was killed.
    """
    from prefect.settings import get_current_settings  # noqa: PLC0415 - the slow import

    settings = get_current_settings()
    if not heartbeats and "heartbeat_frequency" not in settings.flows.model_fields_set:
        settings.flows.heartbeat_frequency = None  # the end of a flow would wait for its thread, up to a second
    if "ssl_cert_file" not in settings.api.model_fields_set and str(settings.api.url).startswith("http://"):
        settings.api.ssl_cert_file = str(_NOBODY)
    return settings


def _lasting_name(home: Path, url: str) -> str:
    """Name an API for as long as it is the same: the store's own server, wherever it listens, or what is at a URL."""
    own = Record.read(home / "prefect")
    return _LOCAL if own is not None and own.server(home).url == url else url


def read_again(env: Mapping[str, str]) -> None:
    """Give a process that imported Prefect long ago, and ``QUIET``, the settings of its environment ``env``."""
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - the slow import
    from prefect.logging.configuration import setup_logging  # noqa: PLC0415 - likewise

    before = _logging()
    refresh_global_settings_context()
    if _logging() != before or {name: env[name] for name in env if name.startswith("PREFECT_LOGGING_")} != QUIET:
        setup_logging()


def _logging() -> "LoggingSettings":
    """Give Prefect's settings of its log; where a file would be that is not there does not count."""
    from prefect.settings import get_current_settings  # noqa: PLC0415 - the slow import

    found = get_current_settings().logging
    return found if Path(found.config_path).exists() else found.model_copy(update={"config_path": None})


def _refused(url: str, status_code: int, text: str) -> PrestowError:
    """Say what an answer means that the API gave instead of the right one."""
    if status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        wanted = "set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY, to what it wants"
        return UnauthorizedError(f"the Prefect API at {url} refused us ({status_code}); {wanted}")
    return UnavailableError(f"the Prefect API at {url} answered {status_code}: {printable(text)}")
