"""The store's own folder: who may see it, which format it has, and its name.

Layers hold setuid programs and secrets, so the folder is its owner's alone: made with mode 0700, and refused when
others could write to it. Nor may they be able to put another one in its place: who can write to a folder above it can,
unless that is sticky, and so can who owns a symbolic link on the way to it.

A folder in which other things lie becomes no store, and is left as it is: another one was meant.
"""

import json
import os
import stat
from pathlib import Path

from prestow.content.disk import create_file, failure, make_folder, read_file
from prestow.content.process_identity import random_hex
from prestow.errors import InvalidError, UnsupportedError, printable

FORMAT = 1
"""Format of the store's folders; greater ones are of a newer prestow."""

_OURS = frozenset({
    "bundles", "containers", "containers.json", "content", "ingest", "looks", "metadata.db", "metadata.lock",
    "namespaces", "prefect", "quarantine", "repair.lock", "runtime", "snapshots", "store.json", "trash", "warm",
})  # fmt: skip
"""What may lie in a store whose name was lost, or is just being made."""

_BESIDE = (".store.json", "metadata.db-", "lost+found")  # one being made, what SQLite has, a disk of its own

_OVERFLOW = Path("/proc/sys/kernel/overflowuid")
"""Holds the user that all have here whom our user namespace does not know, such as the root above it."""


def open_folder(home: Path) -> str:
    """Check the store's folder, or make it, and give the store's ID.

    Raises:
        InvalidError: it is something else, or has other things in it, or others may write to it.
        UnsupportedError: a newer prestow made it.
        StorageError: the disk failed; ExhaustedError where it is full.
        UnavailableError: too many files are open.
    """
    try:
        make_folder(home.parent, durable=False)  # none of them for others to write to, whatever the umask
        home.mkdir(mode=0o700, exist_ok=True)
        _check_content(home)
        _check_owner(home)
        _check_way(home)
        return _store_id(home)
    except OSError as error:
        found = failure(error, f"store {home}")
        if found.transient:
            raise found from error
        raise type(found)(f"{found}; choose another one with --home or PRESTOW_HOME") from error


def _check_content(home: Path) -> None:
    """Refuse a folder that is none of ours, before its mode is touched: it may be any one of the system's."""
    if (home / "store.json").exists():
        return
    foreign = sorted(
        path.name for path in home.iterdir() if path.name not in _OURS and not path.name.startswith(_BESIDE)
    )
    if foreign:
        raise InvalidError(
            f"store {home} is no store, and not empty: {printable(foreign[0], 60)!r} is in it; choose another --home"
        )


def _check_owner(home: Path) -> None:
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise InvalidError(f"store {home} belongs to user {found.st_uid}, not to {os.geteuid()}; choose another --home")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidError(f"store {home} can be written by others (mode {found.st_mode & 0o7777:o}); chmod 0700 it")
    if found.st_mode & 0o077:
        home.chmod(0o700)


def _check_way(home: Path) -> None:
    trusted = {0, os.geteuid(), int(_OVERFLOW.read_text("ascii"))}
    way = (home.absolute(), *home.absolute().parents)
    for path in way:
        if path.is_symlink() and path.lstat().st_uid not in trusted:
            raise InvalidError(f"store {home}: user {path.lstat().st_uid} made the link {path}; choose another --home")
    for folder in {*way[1:], *home.resolve().parents}:
        found = folder.stat()
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if others or found.st_uid not in trusted:
            raise InvalidError(
                f"store {home}: others can replace it, since they may write to {folder} (user {found.st_uid}, mode "
                f"{found.st_mode & 0o7777:o}); take that from them (chmod go-w), or choose another --home"
            )


def _store_id(home: Path) -> str:
    file = home / "store.json"
    try:
        raw = read_file(file)
    except FileNotFoundError:
        return _make(home, file)
    try:
        record = json.loads(raw)
        version, store_id = record["format"], record["id"]
    except (ValueError, KeyError, TypeError):
        raise InvalidError(
            f"{file} is damaged: {printable(raw, 60)!r}; remove it: the store gets a new ID, and all else stays"
        ) from None
    if version != FORMAT or not isinstance(store_id, str):
        raise UnsupportedError(f"{file}: format {printable(str(version))}, this prestow knows {FORMAT}; upgrade it")
    return store_id


def _make(home: Path, file: Path) -> str:
    """Name a new store; of several processes that do so at once, one wins and all tell its name."""
    create_file(file, json.dumps({"format": FORMAT, "id": random_hex(16)}).encode())
    return _store_id(home)
