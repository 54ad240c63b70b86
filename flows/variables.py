"""What a caller hands to a container, what is recorded of it, and where the values come from.

    parameter  entry              the container gets                              Prefect records
    args       WORD               the word                                        ********
    env        NAME=value         the value                                       NAME=********
               NAME               this process's own value; unset if it has none  NAME
    secrets    NAME               this process's own value                        NAME
               NAME=env:VARIABLE  the value of that variable of this process      NAME=env:VARIABLE
               NAME=file:PATH     the text of a file, without its last newline    NAME=file:PATH
               NAME=block:BLOCK   the value of a Secret block of the Prefect API  NAME=block:BLOCK

Of ``credentials`` the name of a block (``block:NAME``) is recorded, and ******** for anything else.

A reference is what is recorded, and each run resolves it where it executes: a retried, resumed or deployed run gets its
values from its own host. What the container writes is recorded without the values that were given by reference. A mask
has no way back: a run that is made of a record is refused, and told to name a source.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from config.variables import variable
from prestow.errors import InvalidError, NotFoundError, PreconditionError, StorageError, printable
from prestow.registry.credentials import NAME
from prestow.runtime.masking import MASK

REFERENCE = r"^[A-Za-z_][A-Za-z0-9_.-]*(=(env|file|block):.+)?$"
"""Grammar of an entry of ``secrets``; the parameter's schema has it, so that the API refuses a value unrecorded."""

_LONGEST = 128 << 10  # what execve(2) takes as one string
_HOW = "name where its value comes from, such as --secret NAME=file:PATH (the parameter `secrets`)"


def check_reference(text: str) -> str:
    """Return an entry of ``secrets`` if it is one.

    Raises:
        InvalidError: it is not; it may be a secret, so nothing of it is shown but what stands before ``=``.
    """
    if re.fullmatch(REFERENCE, text):
        return text
    name, equals, _ = text.partition("=")
    shown = printable(name) if equals else MASK
    raise InvalidError(f"secret {shown!r}: expected NAME, NAME=env:VARIABLE, NAME=file:PATH or NAME=block:BLOCK")


def recorded(parameter: str, value: Any) -> Any:
    """Return what may be recorded of ``args``, ``env``, ``secrets`` or ``credentials``, whatever their value is."""
    if parameter == "credentials":
        return value if value is None or _is_name(value) else MASK
    if not isinstance(value, list | tuple):
        return MASK
    return [_recorded(parameter, entry) for entry in value]


def check_value(parameter: str, value: Any) -> Any:
    """Return a value of ``args``, ``env``, ``secrets`` or ``credentials`` as its flow takes it.

    Raises:
        TypeError: it is of another type, or no name of credentials; nothing of it is shown.
    """
    if parameter == "credentials":
        if value is None or _is_name(value):
            return value
        raise TypeError(f"{parameter}: expected block:NAME, the name of a RegistryCredentials block")
    if isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise TypeError(f"{parameter}: expected a list of texts")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(NAME, value) is not None


def _recorded(parameter: str, entry: object) -> str:
    if not isinstance(entry, str) or parameter == "args":
        return MASK
    if parameter == "secrets" and re.fullmatch(REFERENCE, entry):
        return entry
    name, equals, _ = entry.partition("=")
    if equals:
        return f"{name}={MASK}"
    return name if parameter == "env" else MASK


def words(args: Sequence[str]) -> tuple[str, ...]:
    """Return the words for the container's command.

    Raises:
        InvalidError: they come from a record, where they are masked.
    """
    if MASK in args:
        raise InvalidError("command: its words are not in the record that this run was made from; give them again")
    return tuple(args)


def environment(env: Iterable[str], secrets: Iterable[str], allowed: Iterable[str] | None) -> tuple[str, ...]:
    """Return ``NAME=value`` for what the container gets, and ``NAME`` for what it does not, in order.

    Args:
        env: entries of the parameter of that name.
        secrets: likewise.
        allowed: patterns of the sources that may be read; None for a caller who could read them as well.

    Raises:
        InvalidError: an entry breaks the grammar, comes from a record, or its value is not a text.
        NotFoundError: a source is not there.
        PreconditionError: a source is not allowed.
        StorageError: a file cannot be read.
    """
    patterns = None if allowed is None else tuple(allowed)
    return (*_plain(env, patterns), *(_secret(check_reference(entry), patterns) for entry in secrets))


def by_reference(env: Iterable[str], secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the variables whose values no record has, not even one of the container's output."""
    plain = (entry for entry in env if "=" not in entry)
    return (*plain, *(entry.partition("=")[0] for entry in secrets))


def _plain(entries: Iterable[str], allowed: tuple[str, ...] | None) -> Iterator[str]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if value == MASK:
            raise InvalidError(f"variable {printable(name)!r}: its value is not in the record of a run; {_HOW}")
        own = None if equals else variable(name)
        if own is not None:
            _check_allowed(f"env:{name}", allowed)
        yield entry if own is None else f"{name}={own}"


def _secret(entry: str, allowed: tuple[str, ...] | None) -> str:
    name, _, reference = entry.partition("=")
    source, _, where = (reference or f"env:{name}").partition(":")
    if source == "file" and allowed is not None:  # a pipe such as /dev/stdin has no real path
        where = os.path.realpath(where)
    _check_allowed(f"{source}:{where}", allowed)
    what = f"secret {printable(name)!r}"
    if source == "env":
        value = variable(where)
        if value is None:
            raise NotFoundError(f"{what}: variable {printable(where)!r} is not set here; set it, or {_HOW}")
    else:
        value = _file(what, where) if source == "file" else _block(what, where)
    return f"{name}={value}"


def _check_allowed(reference: str, allowed: tuple[str, ...] | None) -> None:
    """Refuse a source that the operator of a worker's host does not offer to those who can start runs."""
    blocks = reference.startswith("block:")  # whoever can start a run can read them at the API
    if allowed is None or blocks or any(fnmatchcase(reference, pattern) for pattern in allowed):
        return
    raise PreconditionError(
        f"{printable(reference)!r} is not among the sources that deployed runs may read on this host; "
        "add it to the setting deployed_secrets there, or use a Secret block"
    )


def _file(what: str, path: str) -> str:
    where = f"{what}: file {printable(path)}"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - also a pipe
            raw = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{where}: there is none; create it, or name another") from None
    except OSError as error:
        raise StorageError(f"{where}: {error.strerror}; make it readable for this user") from error
    if len(raw) > _LONGEST:
        raise InvalidError(f"{where}: longer than {_LONGEST} bytes, which no variable can be; mount it as a file")
    try:
        return re.sub(r"\r?\n\Z", "", raw.decode())
    except UnicodeDecodeError:
        raise InvalidError(f"{where}: not UTF-8; encode it, in base64 for example") from None


def _block(what: str, name: str) -> str:
    from prefect.blocks.system import Secret

    try:
        block: Any = Secret.load(name, _sync=True)  # type: ignore[call-arg]  # Prefect's decorator takes it
    except ValueError:
        raise NotFoundError(
            f"{what}: the Prefect API has no Secret block {printable(name)!r}; make it there, or name another"
        ) from None
    value = block.get()
    if not isinstance(value, str):
        raise InvalidError(f"{what}: Secret block {printable(name)!r}: expected a text, found another kind of value")
    return value
