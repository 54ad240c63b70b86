"""Quarantine: what is damaged or unknown is moved out of the way; deleting it waits.

    quarantine/<UTC time>-<random>/     one thing each
      note.json                         what it was called, when it was moved, and why
      <name>                            the file or folder itself

It lies on the store's own file system, so that a move is a rename: whoever has the thing open or mounted keeps it. The
note is durable before the move, so that everything here has a record of what it was.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prestow.content.disk import make_folder, remove_flat, replace_file, sync_folder, translated
from prestow.content.process_identity import random_hex
from prestow.errors import printable

KEPT = 7 * 24 * 3600.0
"""Seconds for which a person may look at what was moved; after that, whoever cleans up may remove it."""

_NOTE = "note.json"


class Quarantined(NamedTuple):
    """One thing in quarantine.

    Attributes:
        folder: its folder, with the note.
        path: where it lay.
        why: what was wrong with it.
        moved_at: when it was moved, in seconds since the epoch.
    """

    folder: Path
    path: str
    why: str
    moved_at: float


class Quarantine:
    """The quarantine of a store."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Name its folder, which is made when first needed; ``clock`` tells seconds since the epoch."""
        self.root = root
        self._clock = clock

    def take(self, path: Path, why: str) -> Path | None:
        """Move a file or folder here, and give where it is now; None if there is none.

        Raises:
            ExhaustedError: the disk is full.
            StorageError: the disk failed, or something is mounted at the very place.
        """
        if not os.path.lexists(path):
            return None
        now = self._clock()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        folder = self.root / f"{stamp}-{random_hex(4)}"
        with translated(f"moving {path} to quarantine"):
            make_folder(folder)
            note = {"path": str(path), "why": printable(why, 1000), "moved_at": now}
            replace_file(folder / _NOTE, json.dumps(note, indent=2).encode() + b"\n")
            target = folder / (path.name if path.name != _NOTE else f"{_NOTE}.moved")
            try:
                path.rename(target)
            except OSError as error:
                remove_flat(folder)
                if isinstance(error, FileNotFoundError):
                    return None
                raise
            sync_folder(folder)
            sync_folder(path.parent)
        return target

    def list(self) -> tuple[Quarantined, ...]:
        """Return what is known of everything here, oldest first.

        Raises:
            StorageError: the disk failed.
        """
        with translated(f"listing {self.root}"), suppress(FileNotFoundError):
            return tuple(sorted(self._each(), key=lambda held: held.moved_at))
        return ()

    def old(self, age: float = KEPT) -> tuple[Quarantined, ...]:
        """Return what was moved more than ``age`` seconds ago, by a clock that may have been set meanwhile."""
        return tuple(held for held in self.list() if held.moved_at < self._clock() - age)

    def _each(self) -> Iterator[Quarantined]:
        for folder in self.root.iterdir():
            try:
                note = json.loads((folder / _NOTE).read_bytes())
                yield Quarantined(folder, str(note["path"]), str(note["why"]), float(note["moved_at"]))
            except (OSError, ValueError, LookupError, TypeError, RecursionError):
                with suppress(FileNotFoundError):  # another process removed it
                    yield Quarantined(folder, "", "the reason is not recorded", folder.lstat().st_mtime)
