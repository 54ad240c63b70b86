"""Control groups for tests: made by hand below our own, in each hierarchy that is mounted; ended as a unit is."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_MOUNTS = ("cgroup", "cgroup2")
_INTO = 'for folder in $0; do echo $$ >"$folder/cgroup.procs" || exit 97; done; exec "$@"'


@dataclass(frozen=True)
class Group:
    """A group of one name in each hierarchy; ``folders`` are these, by the hierarchy's name in ``/proc/PID/cgroup``."""

    folders: dict[str, Path]
    paths: dict[str, str]

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command that is to begin in the group."""
        return ("sh", "-c", _INTO, " ".join(map(str, self.folders.values())))

    def members(self) -> set[int]:
        """Return the processes in it, and in groups below it."""
        found: set[int] = set()
        for top in self.folders.values():
            for folder, _, _ in os.walk(top):  # not Path.rglob, which fails when a group that it has listed ends
                with suppress(OSError):
                    found.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
        return found

    def end(self) -> None:
        """Kill all that is in it, as systemd does when a unit has ended (systemd.kill(5), KillMode=control-group)."""
        deadline = time.monotonic() + 30
        while members := self.members():
            assert time.monotonic() < deadline, members
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def holds(self, pid: int) -> bool:
        """Return whether a process is in it in each hierarchy."""
        found = memberships(pid)
        return all(found[hierarchy] == path for hierarchy, path in self.paths.items())


def memberships(pid: int | str = "self") -> dict[str, str]:
    """Return the group of a process in each hierarchy."""
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return {hierarchy: path for _, hierarchy, path in lines}


@contextmanager
def group() -> Iterator[Group]:
    """Make one, which is ended and removed afterwards; skips where that is not allowed."""
    name = f"prestow-test-{secrets.token_hex(4)}"
    paths = {hierarchy: f"{path.rstrip('/')}/{name}" for hierarchy, path in memberships().items()}
    made = Group({hierarchy: _folder(hierarchy, path) for hierarchy, path in paths.items()}, paths)
    try:
        for hierarchy, folder in made.folders.items():
            try:
                folder.mkdir()
            except OSError as error:
                pytest.skip(f"control groups cannot be made here: {error}")
            if hierarchy == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((folder.parent / file).read_text())
        yield made
    finally:
        made.end()
        for top in made.folders.values():
            for folder in sorted((top, *(path for path in top.rglob("*") if path.is_dir())), reverse=True):
                with suppress(FileNotFoundError):
                    folder.rmdir()


def _folder(hierarchy: str, path: str) -> Path:
    """Find where a hierarchy is mounted whole."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        if kind == "cgroup2" if hierarchy == "" else kind == "cgroup" and hierarchy in options:
            return Path(mounted + path)
    pytest.skip(f"hierarchy {hierarchy or 'v2'} of the control groups is mounted nowhere")
