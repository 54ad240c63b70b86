"""``names.log``: the names that changed since ``index.json`` was last written, should the database be lost meanwhile.

    <home>/names.log    a line a change: {"seq": …, "namespace": …, "name": …, "entry": as in index.json, or null}

A change is on the disk here before it is committed, and so before it is reported; the process that begins the next one
starts the file anew if ``index.json`` has all that was committed. So ``index.json``, and on top of it these lines in
their order, always tell every name. A line whose change was not committed may be there too, as a name that
was about to be: a name too many does less harm than an image lost.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.content.disk import read_file, sync_folder, translated
from prestow.errors import PrestowError
from prestow.metadata.layout_index import Key, Named, entry, named
from prestow.oci.descriptor import parse_descriptor

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Change:
    """The last change of a name.

    Attributes:
        seq: number of the change; later ones have greater numbers.
        key: namespace and name.
        image: what it is from then on; None if it went.
    """

    seq: int
    key: Key
    image: Named | None


def names_log(content_root: Path) -> Path:
    """Return the place of the file, beside the layout."""
    return content_root.parent / "names.log"


def append(path: Path, changes: Iterable[Change], *, anew: bool, durable: bool = True) -> None:
    """Write what becomes of some names, and wait for the disk.

    Args:
        path: the file.
        changes: what becomes of them.
        anew: whether what is in the file by now is needed no longer.
        durable: whether to wait for the disk.

    Raises:
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
    """
    # A line begins with its end of line: what a crash or a full disk cut off spoils no line after it.
    data = b"".join(b"\n" + json.dumps(_fields(change)).encode() for change in changes)
    with translated(f"writing {path}"):
        is_new = not path.exists()
        fd = os.open(path, _FLAGS | (os.O_TRUNC if anew else 0), 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        if is_new and durable:
            sync_folder(path.parent)


def read(path: Path, after: int) -> Iterator[Change]:
    """Yield the changes ``after`` one, in their order; none if there is no file, and without what makes no sense.

    Raises:
        StorageError: the disk does not give it.
    """
    with translated(f"reading {path}"):
        try:
            raw = read_file(path)
        except FileNotFoundError:
            return
    for line in raw.split(b"\n"):
        with suppress(ValueError, LookupError, TypeError, RecursionError, PrestowError):
            change = _change(json.loads(line))
            if change.seq > after:
                yield change


def _fields(change: Change) -> dict[str, object]:
    namespace, name = change.key
    image = None if change.image is None else entry(change.image)
    return {"seq": change.seq, "namespace": namespace, "name": name, "entry": image}


def _change(fields: dict[str, Any]) -> Change:
    seq, key = int(fields["seq"]), (str(fields["namespace"]), str(fields["name"]))
    if fields["entry"] is None:
        return Change(seq, key, None)
    found = named(parse_descriptor(fields["entry"], "names.log"))
    if found is None or (found.namespace, found.name) != key:
        raise ValueError(key)
    return Change(seq, key, found)
