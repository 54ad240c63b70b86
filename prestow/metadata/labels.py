"""Labels: short words that people and tools put beside a name, as containerd has them (``pkg/labels``).

    team=vision        a key and its value, together at most 4096 bytes
    keep               a key alone; its value is empty

Nothing in the store depends on them, but on two: prune spares a name with ``prestow.keep=true``, and repair asks first
where ``prestow.source`` says, which a pull writes.
"""

import json
from collections.abc import Mapping

from prestow.errors import InvalidError, printable

SOURCE = "prestow.source"
"""Where an image was pulled from: a reference, or a layout or archive on disk."""

_LONGEST = 4096


def check_labels(labels: Mapping[str, str]) -> None:
    """Make sure that labels can be kept.

    Raises:
        InvalidError: a key is empty or has ``=`` in it, or key and value are too long.
    """
    for key, value in labels.items():
        if not key or "=" in key:
            raise InvalidError(f"label {printable(key)!r}: expected a key that is not empty and has no = in it")
        if (size := len(key.encode()) + len(value.encode())) > _LONGEST:
            raise InvalidError(f"label {printable(key, 64)}: key and value have {size} bytes; at most {_LONGEST}")


def changed(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return labels with changes made to them; None takes a label away, be it there or not.

    Raises:
        InvalidError: as :func:`check_labels`.
    """
    check_labels({key: value or "" for key, value in changes.items()})
    return {key: value for key, value in {**labels, **changes}.items() if value is not None}


def dump_labels(labels: Mapping[str, str]) -> str:
    """Return labels as the database has them."""
    return json.dumps(labels, sort_keys=True)


def load_labels(text: str) -> dict[str, str]:
    """Read labels as the database has them."""
    return {str(key): str(value) for key, value in json.loads(text).items()}
