"""Removing trees that a layer or a container made: any depth, any names, and never across a mount.

::

    <path> ──rename──▶ trash/tree-<random> ──▶ emptied from the leaves up, one directory descriptor at a time

The rename makes it vanish at once; should the rest fail half way (a file that was made immutable), what is left
waits in the trash for the next try. Several may try at once: what is gone is gone. Nothing here recurses or builds long
paths, for trees may be thousands deep. A mount inside is not ours: it is looked for before, and
``RESOLVE_NO_XDEV`` refuses to step over it.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from prestow.content.descriptors import DIRECTORY
from prestow.content.disk import SCARCE, failure
from prestow.errors import PreconditionError, StorageError, printable
from prestow.snapshots.directory_walk import Descent
from prestow.snapshots.mounts.mountinfo import mounts_below

_GRAVE = "tree-"


def bury(path: Path, trash: Path) -> Path | None:
    """Move a file or tree to the trash, on the same file system, and tell where it is now; None if there is none.

    Raises:
        PreconditionError: something is mounted at or below it.
    """
    _refuse_mounts(path)
    grave = trash / f"{_GRAVE}{secrets.token_hex(16)}"
    try:
        path.rename(grave)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure(error, f"moving {path} to the trash") from error
    return grave


def empty_trash(trash: Path) -> None:
    """Try again to remove every tree that was moved to the trash from here.

    Raises:
        StorageError: something is still there; all else is gone.
    """
    errors = []
    for grave in _listed(trash):
        try:
            remove_tree(grave)
        except (PreconditionError, StorageError) as error:
            errors.append(error)
    if errors:
        raise StorageError(f"{len(errors)} of the things in {trash} cannot be removed; the first: {errors[0]}")


def _listed(trash: Path) -> list[Path]:
    try:
        return sorted(trash.glob(f"{_GRAVE}*"))
    except OSError as error:
        raise failure(error, f"listing {trash}") from error


def remove_tree(path: Path) -> None:
    """Remove a file or a tree where it stands; success if there is none.

    Raises:
        PreconditionError: something is mounted at or below it; nothing has been removed.
        StorageError: a part could not be removed; all else has been.
    """
    _refuse_mounts(path)
    kept: list[str] = []
    try:
        parent = os.open(path.parent, DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise failure(error, f"removing {path}") from error
    try:
        if not _unlinked(path.name, parent, kept):
            _remove_folder(path.name, parent, kept)
    except OSError as error:
        raise failure(error, f"removing {path}") from error
    finally:
        os.close(parent)
    if kept:
        raise StorageError(f"removing {path}: {len(kept)} entries cannot be removed; the first: {kept[0]}")


def _refuse_mounts(path: Path) -> None:
    if found := mounts_below(path):
        raise PreconditionError(f"{path} cannot be removed: {found[-1].path} is mounted; unmount it first")


def _unlinked(name: str, folder: int, kept: list[str]) -> bool:
    """Remove anything but a directory; say whether ``name`` is settled."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    except PermissionError as error:
        # Also what other kernels and file systems say for a directory.
        if _is_folder(name, folder):
            return False
        _keep(name, error, kept)
    except OSError as error:
        _keep(name, error, kept)
    return True


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _keep(name: str, error: OSError, kept: list[str]) -> None:
    if error.errno in SCARCE:  # the next entry would not fare better
        raise error
    kept.append(f"{printable(os.fsencode(name))}: {error.strerror}")


def _remove_folder(name: str, parent: int, kept: list[str]) -> None:
    """Empty a directory depth first; only the one at hand is open."""
    pending = [[name]]
    with Descent(parent) as descent:
        while pending:
            if pending[-1]:
                _enter(pending, descent, kept)
            else:
                pending.pop()
                if pending:
                    _remove_emptied(descent.up(), descent.fd, kept)


def _enter(pending: list[list[str]], descent: Descent, kept: list[str]) -> None:
    """Go into the next subdirectory, remove its files and note its subdirectories."""
    name = pending[-1].pop()
    try:
        if os.geteuid():
            os.chmod(name, 0o700, dir_fd=descent.fd)  # an ordinary user cannot empty a folder that lacks these bits
        descent.down(name)
    except FileNotFoundError:
        return
    except OSError as error:
        _keep(name, error, kept)
        return
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = descent.names()
    pending.append([inner for inner in names if not _unlinked(inner, descent.fd, kept)])


def _remove_emptied(name: str, folder: int, kept: list[str]) -> None:
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        _keep(name, error, kept)
