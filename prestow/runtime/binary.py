"""The runtime's program: where it is, and whether its version is one to run strangers' images with.

Older versions follow links of an image out of the container, at their mounts and at their standard files
(CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579, CVE-2026-47766). That is a warning and not an error:
distributions repair old versions without renumbering them, and what could be checked before is checked here.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import NotFoundError, RuntimeFailedError, printable
from prestow.runtime import defaults

ENVIRONMENT = {"PATH": defaults.PATH}
"""All that a runtime gets of our environment; ours may hold credentials."""

_KNOWN = ("runc", "crun")
_VERSION = re.compile(r"^(\S+) version v?(\d+)\.(\d+)(?:\.(\d+))?(\S*)", re.MULTILINE)
_DEADLINE_SECONDS = 30
# The first repaired version of each line that is kept up; what is newer than all is repaired.
_REPAIRED = {"runc": ((1, 3, 6), (1, 4, 3), (1, 5, 0)), "crun": ((1, 28, 0),)}


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program with runc's command line.

    Attributes:
        binary: absolute path.
        name: what it calls itself; empty if it was not asked.
        version: likewise.
        warning: a sentence on its version, for the operator; empty if there is none.
    """

    binary: Path
    name: str = ""
    version: str = ""
    warning: str = ""


def find_runtime(name: str | None = None) -> Runtime:
    """Find a runtime by its name or path, or the first of runc and crun.

    Raises:
        NotFoundError: there is no such program.
        RuntimeFailedError: it does not tell its version.
    """
    for candidate in (name,) if name else _KNOWN:
        found = shutil.which(candidate) or shutil.which(candidate, path=defaults.PATH)
        if found:
            return _asked(Path(found).absolute())
    wanted = printable(name) if name else " or ".join(_KNOWN)
    raise NotFoundError(f"container runtime: no {wanted} on this host; install runc, or name the program's path")


def ask(binary: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Let a runtime do a short thing, with nothing of ours but its arguments.

    Raises:
        RuntimeFailedError: it cannot be started, or does not end within half a minute.
    """
    try:
        return subprocess.run(
            [binary, *arguments],
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except OSError as error:
        raise RuntimeFailedError(f"container runtime {binary}: it does not run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeFailedError(f"container runtime {binary}: no answer in {_DEADLINE_SECONDS} seconds") from error


def _asked(binary: Path) -> Runtime:
    done = ask(binary, "--version")
    text = done.stdout.decode("utf-8", "replace")
    match = _VERSION.search(text)
    if done.returncode != 0 or match is None:
        raise RuntimeFailedError(f"container runtime {binary}: `--version` said {printable(text or done.stderr)!r}")
    name, major, minor, patch, rest = match.groups()
    number = (int(major), int(minor), int(patch or 0))
    version = ".".join(map(str, number)) + rest
    return Runtime(binary, printable(name), printable(version), version_warning(name, number))


def version_warning(name: str, version: tuple[int, int, int]) -> str:
    """Return the sentence on a version that has known holes, or on a program that we know nothing about."""
    repaired = _REPAIRED.get(name)
    if repaired is None:
        return f"container runtime {printable(name)} is not one that prestow knows; runc and crun are"
    in_line = [first for first in repaired if first[:2] == version[:2]]
    if version >= (in_line[0] if in_line else repaired[-1]):
        return ""
    here, needed = ".".join(map(str, version)), " or ".join(".".join(map(str, first)) for first in repaired)
    return f"{name} {here} has known ways out of a container unless your distribution repaired it; {needed} has not"
