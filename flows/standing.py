"""How the kernel treats a process: what fork(2) hands on of that, so that a process may have it as another's child.

Control groups, CPUs, scheduling, priority of I/O, who is killed first when memory runs out, timer slack, the login
that the audit log names. Users, capabilities and the like are not here: no process may give those to itself.
"""

import ctypes
import os
import resource
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from prestow.runtime.control_groups import join, memberships

_FIRST = 1  # the machine's, or the container's, first process, which no shell has started
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_USUAL_SLACK = 50_000
_IO_OF_PROCESS = 1
_KEPT_LIMITS = (resource.RLIMIT_CORE, resource.RLIMIT_STACK)
# ioprio_set(2), ioprio_get(2): libc has no names for them; what is newer than these has the numbers of the last
_IO_CALLS = {"x86_64": (251, 252), "ppc64le": (273, 274), "s390x": (282, 283), "aarch64": (30, 31), "riscv64": (30, 31)}
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a process is taken over.

    Attributes:
        groups: paths of its control groups, by hierarchy.
        cpus: numbers of the CPUs that it may run on.
        policy: of the scheduler.
        priority: under a real-time policy.
        niceness: under the others.
        io: class and priority as ioprio_get(2) gives them; None on a machine where its number is not known.
        oom_score: what is added to its badness when memory runs out.
        timer_slack: nanoseconds by which its timers may be late.
        login: user that the audit log names; empty where the kernel keeps none.
    """

    groups: Mapping[str, str]
    cpus: tuple[int, ...]
    policy: int
    priority: int
    niceness: int
    io: int | None
    oom_score: int
    timer_slack: int
    login: str

    @classmethod
    def here(cls) -> Self:
        """Describe this process.

        Raises:
            OSError: there is no /proc.
        """
        return cls(
            groups=memberships(),
            cpus=tuple(sorted(os.sched_getaffinity(0))),
            policy=os.sched_getscheduler(0),
            priority=os.sched_getparam(0).sched_priority,
            niceness=os.getpriority(os.PRIO_PROCESS, 0),
            io=_io(),
            oom_score=_oom_score("self"),
            timer_slack=_LIBC.prctl(_PR_GET_TIMERSLACK),
            login=_login(),
        )

    def document(self) -> dict[str, Any]:
        """Return what :meth:`parse` takes, ready for JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Read what :meth:`document` gave."""
        return cls(**{**document, "cpus": tuple(document["cpus"])})

    def take(self) -> None:
        """Make this process so; it is in the control groups before anything else is done.

        Raises:
            OSError: not all of it is allowed.
        """
        join(self.groups)
        setters: dict[str, Callable[[], object]] = {
            "cpus": lambda: os.sched_setaffinity(0, self.cpus),
            "policy": lambda: os.sched_setscheduler(0, self.policy, os.sched_param(self.priority)),
            "priority": lambda: os.sched_setparam(0, os.sched_param(self.priority)),
            "niceness": lambda: os.setpriority(os.PRIO_PROCESS, 0, self.niceness),
            "io": lambda: _set_io(self.io),  # after the niceness, which it may follow from
            "oom_score": lambda: _set_oom_score(self.oom_score),
            "timer_slack": lambda: _set_timer_slack(self.timer_slack),
            "login": lambda: Path("/proc/self/loginuid").write_text(self.login),
        }
        for name, put in setters.items():
            if getattr(Standing.here(), name) != getattr(self, name):
                put()


def be_usual() -> None:
    """Set for this process what the first process has, as far as it may: nothing of whoever happened to start it.

    Its soft limits are as high as they may be; only those of core files and stacks stay.
    """
    attempts: tuple[Callable[[], object], ...] = (
        lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
        lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, _FIRST)),
        lambda: os.sched_setaffinity(0, os.sched_getaffinity(_FIRST)),
        lambda: _set_io(0),
        lambda: _set_oom_score(max(0, _oom_score(_FIRST))),
        lambda: _set_timer_slack(_USUAL_SLACK),
        *(partial(_lift, limit) for limit in _limits()),
    )
    for attempt in attempts:
        with suppress(OSError, ValueError):
            attempt()


def _limits() -> set[int]:
    found = {number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}
    return found - {*_KEPT_LIMITS}


def _lift(limit: int) -> None:
    """Raise a limit to the first process's, and the soft one to the hard one."""
    with suppress(OSError, ValueError):  # another user's
        hard = resource.prlimit(_FIRST, limit)[1]
        resource.setrlimit(limit, (hard, hard))
        return
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (hard, hard))


def _io() -> int | None:
    calls = _IO_CALLS.get(os.uname().machine)
    return None if calls is None else int(_LIBC.syscall(ctypes.c_long(calls[1]), _IO_OF_PROCESS, 0))


def _set_io(value: int | None) -> None:
    calls = _IO_CALLS.get(os.uname().machine)
    if value is not None and calls is not None and _LIBC.syscall(ctypes.c_long(calls[0]), _IO_OF_PROCESS, 0, value) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _oom_score(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def _set_oom_score(value: int) -> None:
    Path("/proc/self/oom_score_adj").write_text(str(value))


def _set_timer_slack(nanoseconds: int) -> None:
    _LIBC.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds))


def _login() -> str:
    with suppress(OSError):
        return Path("/proc/self/loginuid").read_text()
    return ""
