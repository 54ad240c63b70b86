"""Control groups of processes: v1, v2, and both at once (cgroups(7)).

A process is in one group of each hierarchy. v2 is one hierarchy, v1 has one for each controller or for several, and
may have some with a name and no controller. A path begins at the hierarchy's root, as far as this process's cgroup
namespace shows it; a group's folder is where that hierarchy is mounted.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

UNIFIED = ""
"""The hierarchy of v2, whose controllers need not be named."""

ROOT = "/"

_CPUSET = ("cpuset.cpus", "cpuset.mems")  # a new group of v1 has none, and takes no process until it has


def memberships(pid: int | str = "self") -> dict[str, str]:
    """Return the path of a process's group in each hierarchy, which its controllers or its name stand for.

    Raises:
        OSError: there is no such process, or no /proc.
    """
    with Path(f"/proc/{pid}/cgroup").open(encoding="utf-8", errors="surrogateescape") as file:
        lines = (line.rstrip("\n").split(":", 2) for line in file)
        return {hierarchy: path for _, hierarchy, path in lines}


def join(groups: Mapping[str, str]) -> None:
    """Move this process into these groups, where it is in others.

    Raises:
        OSError: it may not, a group is gone, or a hierarchy is mounted nowhere; it may have been moved in some.
    """
    here = memberships()
    for hierarchy, path in groups.items():
        if here.get(hierarchy) != path:
            _enter(folder(hierarchy, path))


def may_enter(groups: Mapping[str, str]) -> bool:
    """Whether this process may be moved into these groups, as far as the modes of their files tell."""
    try:
        return all(os.access(folder(hierarchy, path) / "cgroup.procs", os.W_OK) for hierarchy, path in groups.items())
    except OSError:
        return False


def leave(name: str) -> None:
    """Move this process into a group of this name below the root, in each hierarchy where it is not in the root.

    Where that is not allowed it stays where it is. The group stays when its last process has ended; it costs nothing.
    """
    for hierarchy, path in memberships().items():
        if path not in (ROOT, f"/{name}"):
            with suppress(OSError):
                own = folder(hierarchy, ROOT) / name
                own.mkdir(exist_ok=True)
                for file in _CPUSET:
                    if (own / file).exists() and hierarchy != UNIFIED:
                        (own / file).write_text((own.parent / file).read_text())
                _enter(own)


def folder(hierarchy: str, path: str) -> Path:
    """Return the folder of a group.

    Raises:
        FileNotFoundError: there is no such group, or its hierarchy is mounted nowhere where it can be seen.
    """
    for root, mounted in _mounts(hierarchy):
        top = root.rstrip("/")
        found = Path(mounted, path.removeprefix(top).lstrip("/"))
        if f"{path}/".startswith(f"{top}/") and (found / "cgroup.procs").exists():  # another mount may be over it
            return found
    raise FileNotFoundError(errno.ENOENT, "no mounted hierarchy of control groups has it", path)


def _enter(group: Path) -> None:
    with (group / "cgroup.procs").open("w") as file:
        file.write("0")  # whoever writes


def _mounts(hierarchy: str) -> Iterator[tuple[str, str]]:
    """Yield what is mounted of a hierarchy, from its root or from a group in it, and where (proc_pid_mountinfo(5))."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            kind, _, options = rest.split(" ", 2)
            unified = kind == "cgroup2" and hierarchy == UNIFIED
            if unified or (kind == "cgroup" and set(hierarchy.split(",")) <= set(options.strip().split(","))):
                _, _, _, root, mounted, *_ = fields.split(" ")
                yield root, mounted
