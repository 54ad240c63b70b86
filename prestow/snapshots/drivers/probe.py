"""Which drivers work here: tried, not guessed from version numbers, and remembered until something changes.

A driver needs the kernel, the privileges, and the store's own file system to play along, so each is tried there on a
scale of a few KiB and for what it is used for: a container's snapshot is made on two layers, mounted, read, written,
and taken down. That a file system can be mounted does not say that one can write on top of it: overlayfs and FUSE
cannot be upper directories, and without extended attributes a folder that replaces another one fails.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.content.disk import replace_file, translated
from prestow.content.process_identity import boot_id, is_abandoned, owned_name
from prestow.errors import InvalidError, PrestowError, UnsupportedError, printable
from prestow.layers.erofs.image import encode
from prestow.layers.materialise import materialise
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode
from prestow.snapshots.drivers.overlay_layer import difference
from prestow.snapshots.mounts.mount import ADVICE, mount_all, overlaid, unmount
from prestow.snapshots.mounts.mountinfo import file_system
from prestow.snapshots.mounts.shared import mount_image
from prestow.snapshots.remove import remove_tree
from prestow.snapshots.tree_copy import copy_tree

_PROBE = ".probe"

RECORD = "probe.json"
"""What the probe found, in the folder of the snapshots."""

_STATUS = Path("/proc/self/status")
_BLOCK = 512
_OWNER = 12345  # as whom nobody runs

_TRIED = 2
"""Counts changes of what is tried: a record of another one does not count."""

ELSEWHERE = "put the store on ext4, xfs or btrfs (PRESTOW_HOME), on a volume if this is a container"
"""What to do where no driver works, or only the slowest."""


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
    """Return which drivers work for the snapshots folder ``root``, the best one first.

    Args:
        root: an existing folder; what was found out is kept there.
        again: try, even if it was tried before in these circumstances.

    Raises:
        StorageError: the folder cannot be written.
    """
    here = _circumstances(root)
    record = root / RECORD
    if not again and (known := _remembered(record, here)):
        return known
    found = tuple(_try(driver, attempt, root) for driver, attempt in _ATTEMPTS.items())
    drivers = [{"driver": one.driver, "works": one.works, "reason": one.reason} for one in found]
    with translated(f"writing {record}"):
        replace_file(record, json.dumps({**here, "drivers": drivers}).encode(), durable=False)
    return found


def choose(root: Path, driver: str = "auto") -> str:
    """Return the name of the driver to use: the one that is asked for, or the best that works.

    Raises:
        InvalidError: no such driver.
        UnsupportedError: it does not work here, or none does.
    """
    if driver not in {"auto", *_ATTEMPTS}:
        raise InvalidError(f"snapshotter {printable(driver)!r}: expected auto, {', '.join(_ATTEMPTS)}")
    found = {support.driver: support for support in probe(root)}
    works = [name for name, support in found.items() if support.works]
    if driver == "auto" and works:
        return works[0]
    if driver in works:
        return driver
    why = "; ".join(f"{one.driver}: {one.reason}" for one in found.values() if driver in {"auto", one.driver})
    advice = f"choose {' or '.join(works)}" if works else ELSEWHERE
    what = "no snapshotter works" if driver == "auto" else f"snapshotter {driver} does not work"
    raise UnsupportedError(f"{what} in {root}, on {file_system(root)} ({why}); {advice}")


def _circumstances(root: Path) -> dict[str, object]:
    """Return on what it depends which drivers work: kernel, privileges, and the file system, which may change."""
    capabilities = ""
    with suppress(OSError, StopIteration), _STATUS.open(encoding="ascii", errors="replace") as status:
        capabilities = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return {
        "tried": _TRIED,
        "boot_id": boot_id(),
        "kernel": os.uname().release,
        "uid": os.geteuid(),
        "capabilities": capabilities,
        "device": root.stat().st_dev,
        "file_system": file_system(root),
    }


def _remembered(record: Path, here: Mapping[str, object]) -> tuple[Support, ...]:
    """Read what was found in these circumstances; nothing if there is nothing, or nothing sensible."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        document = json.loads(record.read_bytes())
        found = tuple(Support(**driver) for driver in document["drivers"])
        if here.items() <= document.items() and [one.driver for one in found] == [*_ATTEMPTS]:
            return found
    return ()


def _try(driver: str, attempt: Callable[[Path], None], root: Path) -> Support:
    with translated(f"probing {driver}"):
        folder = root.resolve() / owned_name(_PROBE)
        folder.mkdir(0o700)
    try:
        attempt(folder)
        _end_probe(folder)
    except PrestowError as error:
        return Support(driver, works=False, reason=_here(str(error), folder))
    except OSError as error:
        return Support(driver, works=False, reason=_here(f"{error.strerror} ({error.filename})", folder))
    finally:
        _end_probe(folder)
    return Support(driver, works=True)


def _here(reason: str, folder: Path) -> str:
    """Leave out what is of no use to who reads of a probe: its folder, and the advice to ask for one."""
    return reason.replace(f"{folder}/", "").removesuffix(f": {ADVICE}")


def _end_probe(folder: Path) -> None:
    if folder.exists():
        for name in ("mnt", "lower"):
            unmount(folder / name)
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


def _tree() -> Inode:
    """Return two folders with a file each, whose data is the second block of their layer."""
    root = Inode(Kind.DIRECTORY)
    root.children = {b"folder": Inode(Kind.DIRECTORY), b"replaced": Inode(Kind.DIRECTORY)}
    for folder in root.children.values():
        file = Inode(Kind.REGULAR, 0o640)
        file.uid = file.gid = _OWNER if os.geteuid() == 0 else os.geteuid()
        file.layer, file.size, file.extents = 0, _BLOCK, (Extent(0, _BLOCK, _BLOCK),)
        folder.children = {b"file": file}
    return root


def _write_tar(folder: Path) -> bytes:
    """Write a layer's data, and give what the files of :func:`_tree` have of it."""
    data = secrets.token_bytes(2 * _BLOCK)
    (folder / "tar").write_bytes(data)
    return data[_BLOCK:]


def _try_erofs(folder: Path) -> None:
    _need_root()
    data = _write_tar(folder)
    with (folder / "image").open("xb") as file:
        encode(_tree(), [2 * _BLOCK]).write(file)
    (folder / "lower").mkdir()
    mount_image(folder / "image", [folder / "tar"], folder / "lower")
    _use_overlaid(folder, [folder / "lower"], data)


def _try_overlay(folder: Path) -> None:
    _need_root()
    data = _write_tar(folder)
    below, merged = _tree(), _tree()
    assert below.children is not None  # noqa: S101 - it is a folder
    below.children[b"folder"].children = {b"hidden": Inode(Kind.FIFO)}
    for name, tree in (("below", below), ("lower", difference(below, merged))):
        materialise(tree, lambda _: os.open(folder / "tar", os.O_RDONLY | os.O_CLOEXEC), folder / name, privileged=True)
    _use_overlaid(folder, [folder / "lower", folder / "below"], data)


def _try_native(folder: Path) -> None:
    data, root = _write_tar(folder), os.geteuid() == 0
    materialise(
        _tree(), lambda _: os.open(folder / "tar", os.O_RDONLY | os.O_CLOEXEC), folder / "lower", privileged=root
    )
    (folder / "mnt").mkdir()
    copy_tree(folder / "lower", folder / "mnt")
    _use(folder / "mnt", data)


def _use_overlaid(folder: Path, lowers: Sequence[Path], data: bytes) -> None:
    """Mount a snapshot that can be written to, and use it."""
    for name in ("mnt", "upper", "work"):
        (folder / name).mkdir()
    mount_all([overlaid(lowers, folder / "upper", folder / "work")], folder / "mnt")
    _use(folder / "mnt", data)


def _use(root: Path, data: bytes) -> None:
    """Do to a container's root what containers do, and look whether it is done."""
    file, replaced = root / "folder/file", root / "replaced"
    found = file.stat()
    if file.read_bytes() != data or [path.name for path in (root / "folder").iterdir()] != ["file"]:
        raise UnsupportedError("what is read from a snapshot is something else than its layers say")
    if (found.st_mode & 0o7777, found.st_uid) != (0o640, _OWNER if os.geteuid() == 0 else os.geteuid()):
        raise UnsupportedError("files have another owner or mode than the one that they are given")
    with file.open("ab") as opened:
        opened.write(data)
    (replaced / "file").unlink()
    replaced.rmdir()
    replaced.mkdir()
    (root / "link").symlink_to("folder/file")
    os.link(file, root / "replaced/again")
    if (root / "link").read_bytes() != data * 2 or [path.name for path in replaced.iterdir()] != ["again"]:
        raise UnsupportedError("what is written to a snapshot is not what is read from it afterwards")


_ATTEMPTS: Mapping[str, Callable[[Path], None]] = {
    "erofs": _try_erofs,
    "overlay": _try_overlay,
    "native": _try_native,
}
