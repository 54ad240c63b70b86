"""Connect a process that runs flows to a Prefect API: the one that Prefect's settings name, or the store's own.

Prefect is told only where nobody has told it: variables that are set stay as they are. What is set here makes a short
process light; what a service wants to have (heartbeats, a log of each step) is left to its own environment.
"""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from flows.local_server.ensure import ensure, environment
from prestow.errors import UnavailableError

LEAN = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "8",
}
"""Fewer requests a run, no line for each step, and a bound for threads, of which Prefect would use any number."""

_PATIENCE = 10.0


@contextmanager
def connected(home: str | Path, env: MutableMapping[str, str]) -> Iterator[str]:
    """Run flows in this block; gives the URL of the API, and sends the events that wait before it leaves.

    Args:
        home: the store, whose own server is used, and started if need be, where no other API is named.
        env: the process's environment, which Prefect reads; changed in place.

    Raises:
        UnavailableError: the local server did not start, or the API does not answer.
    """
    for name, value in LEAN.items():
        env.setdefault(name, value)
    read_before = "prefect" in sys.modules
    from httpx import TransportError  # noqa: PLC0415 - as below
    from prefect.context import SyncClientContext, refresh_global_settings_context  # noqa: PLC0415 - the slow import
    from prefect.events.worker import EventsWorker  # noqa: PLC0415 - likewise
    from prefect.settings import get_current_settings  # noqa: PLC0415 - likewise

    if read_before:
        refresh_global_settings_context()
    if get_current_settings().api.url is None:
        env.update(environment(ensure(Path(home))))
        refresh_global_settings_context()
    settings = get_current_settings()
    settings.flows.heartbeat_frequency = None  # the end of a flow would wait for its thread, up to a second
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # it warns of events that wait, and sends them
    try:
        with SyncClientContext.get_or_create():
            yield str(settings.api.url)
    except TransportError as error:
        # the engine lets no such error out: what comes here is Prefect's own client, after its retries
        raise UnavailableError(f"the Prefect API at {settings.api.url} does not answer: {error}") from error
    finally:
        EventsWorker.drain_all(timeout=_PATIENCE, at_exit=False)
