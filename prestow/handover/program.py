"""Programs of runtimes that have no socket of their own, or whose command line knows where that is."""

import subprocess
from pathlib import Path
from shutil import which

from prestow.errors import RuntimeFailedError, UnsupportedError, printable
from prestow.runtime import defaults

_SECONDS = 60.0
"""For which an answer is waited."""


def find_program(name: str) -> Path | None:
    """Return where a program is on this host; None if it is not installed."""
    found = which(name) or which(name, path=defaults.PATH)
    return Path(found) if found else None


def ask(name: str, *words: str, missing: bool = False) -> str:
    """Let a program do a short thing, with the configuration that it finds itself, and return what it prints.

    Args:
        name: of the program.
        words: its arguments.
        missing: whether a failure means that there is no such thing, which is then told by an empty text.

    Raises:
        UnsupportedError: it is not installed.
        RuntimeFailedError: it fails, or does not end within a minute.
    """
    binary = find_program(name)
    if binary is None:
        raise UnsupportedError(f"{name} is not installed on this host; install it, or choose another runtime")
    try:
        done = subprocess.run(
            [binary, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", cwd="/",
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except OSError as error:
        raise RuntimeFailedError(f"{binary}: it does not run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeFailedError(f"{name} {words[0]}: no answer in {_SECONDS:.0f} s") from error
    if done.returncode != 0 and not missing:
        raise RuntimeFailedError(f"{name} {words[0]}: {printable(done.stderr.strip())}")
    return done.stdout if done.returncode == 0 else ""
