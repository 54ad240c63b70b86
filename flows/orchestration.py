"""Prefect's settings in a process that runs flows: what makes a short one light, and reading them again.

Prefect gets only what is not set: variables that are set stay as they are. What a service wants to have
(heartbeats, a log of each step) is left to its own environment.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.local_server.record import Server, environment

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


def prepared(home: Path) -> dict[str, str]:
    """Return the variables for a process that imports Prefect and may wait for commands on the store's own server."""
    return LEAN | QUIET | environment(Server(_NOWHERE, 0, "nobody:nothing", home / "prefect"))


def adopted(env: Mapping[str, str], server: Server) -> bool:
    """Use the store's own server in a process that was prepared for it; False if anything else is set.

    Reading all of Prefect's settings again takes longer than any step of a small pull.
    """
    from prefect.settings import get_current_settings
    from pydantic import SecretStr

    settings, expected = get_current_settings(), LEAN | QUIET | environment(server)
    found = {name: env[name] for name in env if name in expected or name.upper().startswith("PREFECT_")}
    for_it = settings.api.url == _NOWHERE and settings.home == server.directory
    if not for_it or found != expected or settings.profiles_path.exists():
        return False
    settings.api.url, settings.api.auth_string = server.url, SecretStr(server.auth)
    settings.ui_url = expected["PREFECT_UI_URL"]
    return True


def lightened(*, heartbeats: bool = False) -> "Settings":
    """Return Prefect's settings, made those of a process that is there for one run, but for what is set already.

    Runs of a terminal or a program send no ``heartbeats``: this host notes their process, and tells when it was killed.
    """
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if not heartbeats and "heartbeat_frequency" not in settings.flows.model_fields_set:
        settings.flows.heartbeat_frequency = None  # the end of a flow would wait for its thread, up to a second
    if "ssl_cert_file" not in settings.api.model_fields_set and str(settings.api.url).startswith("http://"):
        settings.api.ssl_cert_file = str(_NOBODY)
    return settings


def read_again(env: Mapping[str, str]) -> None:
    """Let a process that imported Prefect long ago, and ``QUIET``, take the settings of its environment ``env``."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    before = _logging()
    refresh_global_settings_context()
    if _logging() != before or {name: env[name] for name in env if name.startswith("PREFECT_LOGGING_")} != QUIET:
        setup_logging()


def _logging() -> "LoggingSettings":
    """Return Prefect's settings of its log; where a file would be that is not there does not count."""
    from prefect.settings import get_current_settings

    found = get_current_settings().logging
    return found if Path(found.config_path).exists() else found.model_copy(update={"config_path": None})
