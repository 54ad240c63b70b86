"""The local server's process: Prefect's own application, with what no setting offers.

1. Its database is laid from a template, so that a first start takes no longer than any other.
2. Write transactions queue for SQLite's one lock, and free it however they end (see ``transactions``); an event that
   is sent twice is written once (see ``events``).
3. A reply 503 says Retry-After, which Prefect's client obeys; without it the client sleeps for seconds.
4. It serves a socket that it bound itself, so there is no port to guess and none to lose to another process.
5. It ends after a long time without a request; the next process that needs it starts it again. Without its
   store it ends at once.
6. It leaves the control group of whoever started it, and all else that was set for that one (see ``flows.outliving``).
7. It looks for something to do as seldom as goes unnoticed (see ``polling``).

Run as ``python -P -m flows.local_server.launcher DIRECTORY``, with the lock's descriptor open (see ``ensure``).
"""

import gc
import os
import secrets
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from flows.background import LOCK_FD
from flows.local_server.address import bind, is_reserved
from flows.local_server.idle import Application, Idle, Message, Receive, Send
from flows.local_server.polling import SETTINGS, PatientServer, poll_seldom
from flows.local_server.presence import Presence
from flows.local_server.record import Record
from flows.local_server.template import lay
from flows.outliving import leave_starter
from prestow.content.process_identity import Process

_SECONDS = b"0.05"
_UNAVAILABLE = 503
_HOUR = 3600.0


def main(directory: Path) -> None:
    """Serve until a signal ends the process, or no client needs it."""
    gc.disable()  # what is imported is no garbage, and looking for some takes a tenth of the start
    leave_starter("server", files=1)
    os.umask(0o077)
    listener, auth = _address(directory)
    with listener:
        record = Record(listener.getsockname()[1], auth, Process.current(), ready=False)
        record.write(directory)
        lay(directory / "prefect.db")
        os.environ.update(settings(directory, port=record.port, auth=auth))
        _serve(listener, record, directory)


def settings(directory: Path, *, port: int, auth: str) -> dict[str, str]:
    """Return the variables with which Prefect's server is set up."""
    recorder = "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER"
    return {
        "PREFECT_HOME": str(directory),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{directory}/prefect.db",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # one transaction for many events of task runs, not one for each
        f"{recorder}_READ_BATCH_SIZE": "100",
        f"{recorder}_BATCH_SIZE": "100",
        f"{recorder}_FLUSH_INTERVAL": "1",
        # events once a second, not each twenty: writing them takes longer than a request in the middle should wait
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        # runs are kept for the default 90 days, not for ever
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        **SETTINGS,
    }


def retry_soon(application: Application) -> Application:
    """Add Retry-After to each reply 503."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == _UNAVAILABLE:
                message["headers"] = [*message["headers"], (b"retry-after", _SECONDS)]
            await send(message)

        await application(scope, receive, send_on)

    return wrapped


def _address(directory: Path) -> tuple[socket.socket, str]:
    """Take the last server's address and password where a run holds on to them; else new ones."""
    last = Record.read(directory) if is_reserved(directory) else None
    if last is not None:
        with suppress(OSError):
            return bind(last.port), last.auth
    return bind(0), f"prestow:{secrets.token_urlsafe(24)}"


def _serve(listener: socket.socket, record: Record, directory: Path) -> None:
    """Run Prefect's application on the socket."""
    import uvicorn
    from prefect.server.api.server import create_app

    from config.settings import load
    from flows.local_server.events import write_once
    from flows.local_server.transactions import queue_writers

    queue_writers()
    write_once()
    poll_seldom()
    idle = Idle(retry_soon(create_app()))
    patience = load().server_idle_hours * _HOUR or float("inf")
    store = Presence(directory, LOCK_FD)

    class Serving(PatientServer):
        """Says when it serves, and ends after a long time without a request, or when its store is gone."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            idle.used()
            if self.started:
                replace(record, ready=True).write(directory)
            gc.freeze()
            gc.enable()

        async def on_tick(self, counter: int) -> bool:
            return await super().on_tick(counter) or idle.seconds() > patience or not store.lasts()

    config = uvicorn.Config(idle, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    Serving(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
