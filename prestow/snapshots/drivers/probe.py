"""Which drivers work here: tried, not guessed from version numbers, and remembered until something changes.

A driver needs the kernel, the privileges, and the store's own file system to play along, so each is tried there, by
itself (:mod:`.trial`).
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.content.disk import replace_file, translated
from prestow.content.process_identity import boot_id, is_abandoned, owned_name
from prestow.errors import InvalidError, PrestowError, UnsupportedError, printable
from prestow.snapshots.drivers.all import kinds
from prestow.snapshots.mounts.mount import ADVICE, unmount
from prestow.snapshots.mounts.mountinfo import file_system
from prestow.snapshots.remove import remove_tree

_PROBE = ".probe"

RECORD = "probe.json"
"""What the probe found, in the folder of the snapshots."""

_STATUS = Path("/proc/self/status")

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
    found = tuple(_try(name, kind.attempt, root) for name, kind in kinds().items())
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
    if driver not in {"auto", *kinds()}:
        raise InvalidError(f"snapshotter {printable(driver)!r}: expected auto, {', '.join(kinds())}")
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
        if here.items() <= document.items() and [one.driver for one in found] == [*kinds()]:
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
        PreconditionError: a process uses it.
        StorageError: the disk failed.
    """
    with translated(f"listing {root}"):
        left = [folder for folder in root.resolve().glob(f"{_PROBE}.*") if is_abandoned(folder.name)]
    for folder in left:
        _end_probe(folder)
