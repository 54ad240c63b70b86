"""A snapshot's row, written into its folder: what is known of it should the database be lost.

    <driver>/<id>/row.json    {"key": …, "kind": …, "parent": …, "diff_id": …, "created_at": …, "layers": [diff ID, …]}

``layers`` are those of the image below, lowest first, its own included: they tell the rows of the whole chain. It is
never read while there is a database.
"""

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.content.descriptors import FILE
from prestow.content.disk import replace_file, translated
from prestow.digest import Digest
from prestow.errors import PrestowError, StorageError
from prestow.snapshots.snapshotter import Info, Kind

NAME = "row.json"

_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class RowFile:
    """What a folder says of itself.

    Attributes:
        info: the row; its number is that of the folder.
        layers: diff IDs of the image in and below it, lowest first.
    """

    info: Info
    layers: tuple[Digest, ...]


def write_row(folder: Path, info: Info, line: Sequence[Info], *, durable: bool) -> None:
    """Write a row into its folder, published or not.

    Args:
        folder: the folder.
        info: the row; its number is not written, which is the folder's name.
        line: the rows below it, the nearest first.
        durable: whether to wait for the disk, also for what is in the folder otherwise.

    Raises:
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
    """
    fields = {
        "key": info.key,
        "kind": info.kind.value,
        "parent": info.parent,
        "diff_id": info.diff_id,
        "created_at": info.created_at,
        "layers": _layers(info, line),
    }
    with translated(f"writing {folder / NAME}"):
        replace_file(folder / NAME, json.dumps(fields).encode(), durable=durable)


def tells(folder: Path, info: Info, line: Sequence[Info]) -> bool:
    """Whether a folder says what :func:`write_row` would write, but for the time."""
    try:
        told = read_row(folder, info.driver)
    except StorageError:
        return False
    return told is not None and (told.info._replace(created_at=info.created_at), told.layers) == (
        info,
        _layers(info, line),
    )


def _layers(info: Info, line: Sequence[Info]) -> tuple[Digest, ...]:
    return tuple(each.diff_id for each in reversed([info, *line]) if each.diff_id is not None)


def read_row(folder: Path, driver: str) -> RowFile | None:
    """Read a row back; None if there is none, or nothing that makes sense.

    Raises:
        StorageError: the disk does not give it.
    """
    try:
        with translated(f"reading {folder / NAME}"):
            raw = _bytes(folder / NAME)
        return _parsed(json.loads(raw), driver, int(folder.name))
    except StorageError:
        raise
    except (ValueError, LookupError, TypeError, RecursionError, PrestowError):
        return None


def _bytes(path: Path) -> bytes:
    """Read a file, if it is one: anything else is as good as nothing."""
    if not (path.exists() and stat.S_ISREG(path.lstat().st_mode)):
        return b""
    fd = os.open(path, FILE)
    with os.fdopen(fd, "rb") as file:
        return file.read(_LONGEST)


def _parsed(fields: dict[str, Any], driver: str, number: int) -> RowFile:
    diff_id = None if fields["diff_id"] is None else Digest.parse(fields["diff_id"])
    parent = None if fields["parent"] is None else str(fields["parent"])
    kind, created_at = Kind(fields["kind"]), float(fields["created_at"])
    info = Info(driver, str(fields["key"]), kind, parent, number, created_at, diff_id)
    return RowFile(info, tuple(map(Digest.parse, fields["layers"])))
