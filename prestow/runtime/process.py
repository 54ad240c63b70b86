"""The process of a container: arguments, environment, working directory (image-spec, conversion.md, "Verbatim Fields").

What the kernel or the runtime would refuse when the container starts is refused here, when its bundle is made: the
one who makes it can still change something.
"""

import posixpath
from collections.abc import Iterable, Mapping

from prestow.errors import InvalidError, printable
from prestow.oci.image_config import ProcessConfig
from prestow.runtime import defaults
from prestow.runtime.overrides import Overrides
from prestow.runtime.rootfs import RootFs, resolve

_MAX_STRING = 128 * 1024 - 1  # MAX_ARG_STRLEN of execve(2), without the closing NUL
_MAX_TOTAL = 2 << 20  # a quarter of the usual stack, which is what execve(2) allows
_POINTER = 8
_OPEN_DIRECTORIES = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - the container's own


def arguments(config: ProcessConfig, overrides: Overrides) -> list[str]:
    """Return Entrypoint and Cmd, or what replaces them.

    Raises:
        InvalidError: there is no command, or one that execve(2) refuses.
    """
    entrypoint = config.entrypoint if overrides.entrypoint is None else overrides.entrypoint
    cmd = config.cmd if overrides.entrypoint is None else ()
    args = [*entrypoint, *(overrides.args or cmd)]
    if not args or not args[0]:
        raise InvalidError("no command: the image has neither Entrypoint nor Cmd; give one")
    return _checked({f"argument {number}": arg for number, arg in enumerate(args)})


def environment(config: ProcessConfig, overrides: Overrides, home: str) -> list[str]:
    """Return the environment: the image's, the operator's over it, and PATH, HOME, TERM where neither has them.

    A name that stands twice has its last value.

    Raises:
        InvalidError: an entry without a name or ``=``, or one that execve(2) refuses.
    """
    variables: dict[str, str] = {}
    for entry in config.env:
        name, equals, value = entry.partition("=")
        if not name or not equals:
            raise InvalidError(f"image config: Env: {printable(entry)!r} is not of the form NAME=value")
        variables[name] = value
    defaults_ = {"PATH": defaults.PATH, "HOME": home, **({"TERM": "xterm"} if overrides.tty else {})}
    variables = {**defaults_, **variables}
    for entry in overrides.env:
        name, equals, value = entry.partition("=")
        if not name:
            raise InvalidError("environment: an entry has no name: expected NAME=value or NAME")
        variables.pop(name, None)
        if equals:
            variables[name] = value
    return _checked({f"environment variable {name}": f"{name}={value}" for name, value in variables.items()})


def working_directory(path: str, rootfs: RootFs) -> str:
    """Return the absolute, normal form of a working directory, which need not exist.

    Raises:
        InvalidError: it leads to processes' files in ``/proc`` or to devices, by itself or through links of the image:
            by that way containers have got hold of the host's directories (CVE-2024-21626).
    """
    if "\0" in path:
        raise InvalidError(f"working directory {printable(path)!r}: contains a NUL")
    absolute = posixpath.normpath("/" + path.lstrip("/"))
    for candidate in (absolute, resolve(rootfs, absolute)):
        if candidate.startswith(("/proc/", "/dev/")) and not candidate.startswith(_OPEN_DIRECTORIES):
            raise InvalidError(
                f"working directory {printable(path)!r}: leads to {printable(candidate)!r}; name another"
            )
    return absolute


def _checked(strings: Mapping[str, str]) -> list[str]:
    """Refuse what execve(2) would: NULs, a string or a sum that is too long; values may be secret and are not shown."""
    sizes = [_size(string, what) for what, string in strings.items()]
    if sum(sizes) + _POINTER * len(sizes) > _MAX_TOTAL:
        what = f"arguments or environment: {len(sizes)} strings of {sum(sizes)} bytes"
        raise InvalidError(f"{what}; the kernel takes {_MAX_TOTAL} bytes with their pointers")
    return list(strings.values())


def _size(string: str, what: str) -> int:
    size = len(string.encode("utf-8", "surrogatepass")) + 1
    if "\0" in string:
        raise InvalidError(f"{printable(what)}: contains a NUL")
    if size > _MAX_STRING:
        raise InvalidError(f"{printable(what)}: {size} bytes; the kernel takes {_MAX_STRING}")
    return size


def limits(open_files: int | None) -> Iterable[dict[str, object]]:
    """Yield the resource limits of the process."""
    number = defaults.OPEN_FILES if open_files is None else open_files
    yield {"type": "RLIMIT_NOFILE", "soft": number, "hard": number}
