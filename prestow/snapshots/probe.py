"""Which drivers work here: tried, not guessed from version numbers, and remembered until the next boot.

A driver needs the kernel, the privileges, and the store's own file system to play along, so each is tried there on a
scale of a few KiB: mounted, looked at, taken down.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.content.boot import boot_id
from prestow.content.disk import replace_file, translated
from prestow.content.owned import is_abandoned, owned_name
from prestow.errors import InvalidError, PrestowError, UnsupportedError, printable
from prestow.layers.entry import Extent, Kind
from prestow.layers.erofs import encode
from prestow.layers.materialise import materialise
from prestow.layers.node import Node
from prestow.snapshots.bases import mount_image
from prestow.snapshots.difference import difference
from prestow.snapshots.mount import mount_all, overlaid, unmount
from prestow.snapshots.remove import remove_tree

_PROBE = ".probe"

RECORD = "probe.json"
"""What the probe found, in the folder of the snapshots."""

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Support:
    """Whether one driver works on one store.

    Attributes:
        driver: its name.
        works: whether it does.
        reason: if not, why not, in one sentence.
    """

    driver: str
    works: bool
    reason: str = ""


def probe(root: Path, *, again: bool = False) -> tuple[Support, ...]:
    """Tell which drivers work for the snapshots folder ``root``, the best one first.

    Args:
        root: an existing folder; what was found out is kept there.
        again: try, even if it was tried since the last boot.

    Raises:
        StorageError: the folder cannot be written.
    """
    boot = {"boot_id": boot_id(), "uid": os.geteuid()}
    record = root / RECORD
    if not again and (known := _remembered(record, boot)):
        return known
    found = tuple(_try(driver, attempt, root) for driver, attempt in _ATTEMPTS.items())
    drivers = [{"driver": one.driver, "works": one.works, "reason": one.reason} for one in found]
    with translated(f"writing {record}"):
        replace_file(record, json.dumps({**boot, "drivers": drivers}).encode(), durable=False)
    return found


def choose(root: Path, driver: str = "auto") -> str:
    """Give the name of the driver to use: the one that is asked for, or the best that works.

    Raises:
        InvalidError: no such driver.
        UnsupportedError: it does not work here.
    """
    if driver not in {"auto", *_ATTEMPTS}:
        raise InvalidError(f"snapshotter {printable(driver)!r}: expected auto, {', '.join(_ATTEMPTS)}")
    found = {support.driver: support for support in probe(root)}
    if driver == "auto":
        return next(name for name, support in found.items() if support.works)
    if not found[driver].works:
        raise UnsupportedError(f"snapshotter {driver} does not work here: {found[driver].reason}")
    return driver


def _remembered(record: Path, boot: Mapping[str, object]) -> tuple[Support, ...]:
    """Read what was found since this boot; nothing if there is nothing, or nothing sensible."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        document = json.loads(record.read_bytes())
        found = tuple(Support(**driver) for driver in document["drivers"])
        if boot.items() <= document.items() and [one.driver for one in found] == [*_ATTEMPTS]:
            return found
    return ()


def _try(driver: str, attempt: Callable[[Path], None], root: Path) -> Support:
    with translated(f"probing {driver}"):
        folder = root.resolve() / owned_name(_PROBE)
        folder.mkdir(0o700)
    try:
        attempt(folder)
    except PrestowError as error:
        return Support(driver, works=False, reason=str(error))
    except OSError as error:
        return Support(driver, works=False, reason=f"{error.strerror} ({error.filename})")
    finally:
        _end_probe(folder)
    return Support(driver, works=True)


def _end_probe(folder: Path) -> None:
    unmount(folder / "mnt")
    remove_tree(folder)


def end_probes(root: Path) -> None:
    """Take away the folders in which dead processes were trying something.

    Raises:
        PreconditionError: somebody is in there.
        StorageError: the disk failed.
    """
    with translated(f"listing {root}"):
        left = [folder for folder in root.resolve().glob(f"{_PROBE}.*") if is_abandoned(folder.name)]
    for folder in left:
        _end_probe(folder)


def _need_root() -> None:
    if os.geteuid():
        raise UnsupportedError("mounting needs root (CAP_SYS_ADMIN)")


def _tree() -> Node:
    """Give a folder with a file whose data is the second block of its layer."""
    file = Node(Kind.REGULAR, 0o600)
    file.layer, file.size, file.extents = 0, _BLOCK, (Extent(0, _BLOCK, _BLOCK),)
    root, folder = Node(Kind.DIRECTORY), Node(Kind.DIRECTORY)
    root.children, folder.children = {b"folder": folder}, {b"file": file}
    return root


def _try_erofs(folder: Path) -> None:
    _need_root()
    data = secrets.token_bytes(2 * _BLOCK)
    (folder / "tar").write_bytes(data)
    with (folder / "image").open("xb") as file:
        encode(_tree(), [len(data)]).write(file)
    (folder / "mnt").mkdir()
    mount_image(folder / "image", [folder / "tar"], folder / "mnt")
    if (folder / "mnt/folder/file").read_bytes() != data[_BLOCK:]:
        raise UnsupportedError("the kernel mounts a metadata image, but reads something else from it")


def _try_overlay(folder: Path) -> None:
    _need_root()
    lower, merged = _tree(), Node(Kind.DIRECTORY)
    again, other = Node(Kind.DIRECTORY), Node(Kind.FIFO)
    merged.children, again.children = {b"folder": again}, {b"other": other}
    (folder / "tar").write_bytes(bytes(2 * _BLOCK))
    for name, tree in (("lower", lower), ("upper", difference(lower, merged))):
        materialise(tree, lambda _: os.open(folder / "tar", os.O_RDONLY | os.O_CLOEXEC), folder / name, privileged=True)
    for name in ("mnt", "work"):
        (folder / name).mkdir()
    mount_all([overlaid([folder / "lower"], folder / "upper", folder / "work")], folder / "mnt")
    if [path.name for path in (folder / "mnt/folder").iterdir()] != ["other"]:
        raise UnsupportedError("overlayfs does not hide what an opaque folder hides on this file system")


def _try_native(folder: Path) -> None:
    (folder / "file").write_bytes(b"")


_ATTEMPTS: Mapping[str, Callable[[Path], None]] = {
    "erofs": _try_erofs,
    "overlay": _try_overlay,
    "native": _try_native,
}
