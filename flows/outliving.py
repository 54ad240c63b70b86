"""A process that stays for others leaves whoever happened to start it: its control groups, and all that was set for it.

Where systemd runs, the process becomes a scope of its own, of the system's manager for root and of their own one for
others: a unit ends with all that is in its control group. Elsewhere, and where that fails, it moves into the group
``prestow`` below the root of each hierarchy, which takes root. Where neither is allowed it stays, and ends with the
unit of its starter.
"""

import fcntl
import os
import resource
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from flows.background import LOCK_FD
from flows.standing import be_usual
from prestow.runtime.control_groups import leave, may_enter, memberships

_GROUP = "prestow"
_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_PATIENCE = 5.0
_POLL = 0.01


def leave_starter(name: str, *, files: int, to_return: bool = False) -> None:
    """Leave the starter's control groups and directory, and keep no more of it than the first ``files`` descriptors.

    Those, of which the lock is the first, no program gets that is started from here. With ``to_return``, the groups are
    left only if children may go back into them, as those of root may. ``name`` is the scope's.
    """
    end = LOCK_FD + files
    os.closerange(end, resource.getrlimit(resource.RLIMIT_NOFILE)[0])  # such as the lock of a shell script
    for handed in range(LOCK_FD, end):
        fcntl.fcntl(handed, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    os.chdir("/")  # not to keep a directory in use, nor to look for settings there
    groups = memberships()
    if not to_return or may_enter(groups):
        scoped = _SYSTEMD.is_dir() and _become_scope(f"prestow-{name}-{os.getpid()}.scope")
        if not scoped:
            leave(_GROUP)
    be_usual()


def _become_scope(unit: str) -> bool:
    """Have systemd move this process into a scope (org.freedesktop.systemd1(5), StartTransientUnit)."""
    groups = memberships()
    words = ["busctl", "--quiet", *([] if os.geteuid() == 0 else ["--user"]), "call", "org.freedesktop.systemd1"]
    words += ["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"]
    words += [unit, "fail", "2", "PIDs", "au", "1", str(os.getpid()), "CollectMode", "s", "inactive-or-failed", "0"]
    runtime = f"/run/user/{os.geteuid()}"
    try:
        subprocess.run(
            words, env={"PATH": os.defpath, "XDG_RUNTIME_DIR": runtime}, timeout=_PATIENCE, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:  # it answers before it has done so
        with suppress(OSError):
            if memberships() != groups:
                return True
        time.sleep(_POLL)
    return False
