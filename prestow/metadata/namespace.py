"""Namespaces: within one store, names of one tenant that the others neither see nor remove.

    namespace = part *( [._-] part )        part = 1*( letter | digit )        at most 76 bytes

The grammar is containerd's (``pkg/identifiers``). Names of images, containers, leases are each namespace's own;
content and snapshots are found by digest, and are there once for all of them.
"""

import re

from prestow.errors import InvalidError, printable

DEFAULT = "default"
"""The namespace of whoever names none."""

_LONGEST = 76
_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


def check_namespace(text: str) -> str:
    """Return a namespace's name as it is.

    Raises:
        InvalidError: it breaks the grammar.
    """
    if len(text) > _LONGEST or not _NAMESPACE.fullmatch(text):
        raise InvalidError(
            f"namespace {printable(text, _LONGEST)!r}: expected letters and digits, with single . _ - between them, "
            f"at most {_LONGEST} in all"
        )
    return text


def qualified(namespace: str, name: str) -> str:
    """Return a name for people, with its namespace if that is another than the default one."""
    return name if namespace in ("", DEFAULT) else f"{namespace}: {name}"
