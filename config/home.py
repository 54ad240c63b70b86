"""Where a host's store is, and whose names it shows; read from the environment, without any import that costs time."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from config.chosen import chosen

DEFAULT_FILE = "/etc/prestow/config.toml"
DEFAULT_FLEET = "/etc/prestow/fleet.yaml"


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the store's folder: ``PRESTOW_HOME``, else ``/var/lib/prestow`` for root, else among the user's data."""
    chosen = environment.get("PRESTOW_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/prestow")
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "prestow"


def home_or_default(home: str | Path | None) -> str:
    """Return a store as an absolute path; by default the one that the program has chosen, else the host's.

    Raises:
        ValueError: the program has chosen several, see :func:`config.chosen.chosen`.
    """
    return str(Path(home).expanduser().absolute()) if home else chosen() or str(default_home())


def namespace_or_default(namespace: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the chosen namespace, else ``PRESTOW_NAMESPACE``, else ``default``."""
    return namespace or environment.get("PRESTOW_NAMESPACE") or "default"


def server_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables from which a local server reads its settings, wherever it starts."""
    chosen = {name: value for name, value in environment.items() if name.startswith("PRESTOW_SERVER_")}
    file = environment.get("PRESTOW_CONFIG")
    return chosen | ({"PRESTOW_CONFIG": str(Path(file).expanduser().absolute())} if file else {})


def config_file(environment: Mapping[str, str] = os.environ) -> str:
    """Return the file with the settings: ``PRESTOW_CONFIG``, else the host's; it need not be there."""
    return environment.get("PRESTOW_CONFIG") or DEFAULT_FILE


def fleet_file(default: str = DEFAULT_FLEET, environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of the fleet file: ``PRESTOW_FLEET``, else the host's; it need not be there."""
    return environment.get("PRESTOW_FLEET") or default


def cold(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether commands are to use no warm process: ``PRESTOW_COLD`` is set, and not to 0."""
    return environment.get("PRESTOW_COLD", "0") not in ("", "0")


def process_environment() -> MutableMapping[str, str]:
    """Return the environment of this process, for what must be told to libraries and child processes by it."""
    return os.environ
