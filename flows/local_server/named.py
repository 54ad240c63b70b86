"""Whether Prefect might be told of an API, by anything that it reads: standard library only, a millisecond.

Only Prefect knows what its settings come to, and takes a second to tell. Where nothing that it reads could name an
API, the store's own server can be started meanwhile.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_NAMING = {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"}
_TESTING = {
    "PREFECT_TEST_MODE",
    "PREFECT_UNIT_TEST_MODE",
    "PREFECT_TESTING_TEST_MODE",
    "PREFECT_TESTING_UNIT_TEST_MODE",
}


def may_be_named(environment: Mapping[str, str], directory: Path) -> bool:
    """Return whether an API may be named for a process with these variables in this directory; False is certain."""
    if not (_NAMING | _TESTING).isdisjoint(name.upper() for name in environment):
        return True
    home = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    return (
        "url" in _text(home / "profiles.toml")
        or "prefect" in _text(directory / ".env")
        or bool(_text(directory / "prefect.toml"))
        or _has_table(_text(directory / "pyproject.toml"))
    )


def _text(file: Path) -> str:
    """Return a file's text, in small letters; nothing if there is no such file."""
    try:
        return file.read_text("utf-8", "replace").casefold()
    except FileNotFoundError:
        return ""
    except OSError:
        return "prefect url"  # whatever it says


def _has_table(text: str) -> bool:
    """Return whether there is a table of Prefect's in a ``pyproject.toml``."""
    if "prefect" not in text:
        return False
    import tomllib

    with suppress(tomllib.TOMLDecodeError, AttributeError):
        return "prefect" in tomllib.loads(text).get("tool", {})
    return True
