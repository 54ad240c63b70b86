"""The process that wants something run: what a child takes over of it, and what must be the same in both.

What can be handed on is handed on: standard streams, arguments, environment, working directory, umask, limits, which
signals are ignored or blocked, and its standing: control groups, CPUs, priorities. What cannot (users, capabilities,
namespaces, the security label, the interpreter and its code, what it read when it started) is the caller's key: a warm
process serves those alone that have its own. What can neither be handed on nor compared, such as filters of system
calls, makes a caller ``confined``: it runs its commands itself.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import prestow
from config.home import config_file
from flows.standing import Standing
from prestow.project import root

STREAMS = (0, 1, 2)

LOOK, STOP = "look", "stop"
"""Keys of those who want to know the process, or its end, and no command run."""

_READ_AT_START = ("PYTHON", "LD_", "PREFECT_TASKS_", "PREFECT_FLOWS_", "PREFECT_RESULTS_", "PRESTOW_WARM_")
_ALSO_READ = ("PRESTOW_CONFIG",)
_SAME_ANYWAY = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED")
_FLAGS = ("bytes_warning", "dev_mode", "ignore_environment", "isolated", "no_site", "no_user_site", "optimize")
_COMPARED = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Speculation",
    "THP_enabled",
)  # fmt: skip
_LABELS = ("current", "apparmor/current", "smack/current")
_PR_GET_SECUREBITS = 27
_ASKED_ONLY = 0xFFFFFFFF  # personality(2)
_MEMORY_POLICY = {"x86_64": 239, "aarch64": 236, "riscv64": 236}  # get_mempolicy(2), which libc has no name for
_LIBC = ctypes.CDLL(None)
_PYTHON = {
    signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN, signal.SIGXFSZ: signal.SIG_IGN,
}  # fmt: skip
_LIMITS = sorted(number for name, number in vars(resource).items() if name.startswith("RLIMIT_"))


@dataclass(frozen=True, slots=True)
class Caller:
    """What a child takes over.

    Attributes:
        words: arguments of the command.
        environment: as the caller has it; bytes that are no UTF-8 are surrogates.
        limits: soft and hard, by the kernel's number of the resource.
        standing: control groups, CPUs, priorities.
        ignored: numbers of the signals that are ignored.
        blocked: numbers of those that are blocked.
        encodings: encoding and error handler of each of the standard streams.
    """

    words: tuple[str, ...]
    environment: dict[str, str]
    umask: int
    limits: dict[str, tuple[int, int]]
    standing: Standing
    ignored: tuple[int, ...]
    blocked: tuple[int, ...]
    encodings: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        """Return what :meth:`parse` takes, ready for JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, document: dict[str, Any]) -> "Caller":
        """Read what :meth:`document` gave."""
        return cls(**{**document, "standing": Standing.parse(document["standing"])})


def this_one(words: Sequence[str]) -> Caller:
    """Describe this process."""
    umask = os.umask(0o077)
    os.umask(umask)
    return Caller(
        words=tuple(words),
        environment=dict(os.environ),
        umask=umask,
        limits={str(number): resource.getrlimit(number) for number in _LIMITS},
        standing=Standing.here(),
        ignored=tuple(n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN),
        blocked=tuple(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        encodings=tuple((stream.encoding, stream.errors or "strict") for stream in _streams()),
    )


def take_place(caller: Caller, files: Sequence[int]) -> None:
    """Make this process, a new child, like the caller; ``files`` are its standard streams and its working directory.

    Raises:
        OSError: not all of that is possible, such as a limit that was lowered for us and not for the caller, or a
            control group that this process may not enter.
        ValueError: likewise.
    """
    caller.standing.take()
    *streams, directory = files
    for number, file in zip(STREAMS, streams, strict=True):
        os.dup2(file, number)
    os.fchdir(directory)
    for file in files:
        os.close(file)
    os.umask(caller.umask)
    for limit, (soft, hard) in caller.limits.items():
        if resource.getrlimit(int(limit)) != (soft, hard):
            resource.setrlimit(int(limit), (soft, hard))
    os.environ.clear()
    os.environ.update(caller.environment)
    _open_streams(caller)
    _take_signals(caller)


def key() -> str:
    """Return what is the same in all processes that may serve each other; harmless to show."""
    return sha256("\0".join(_parts()).encode("utf-8", "surrogateescape")).hexdigest()


def confined() -> bool:
    """Whether a command must be this very process: the kernel does not tell what filters it, or places its memory."""
    policy, call = ctypes.c_int(0), _MEMORY_POLICY.get(os.uname().machine)
    if call is not None:
        _LIBC.syscall(ctypes.c_long(call), ctypes.byref(policy), None, 0, None, 0)
    return policy.value != 0 or _filters("self") > _filters("1")


def _filters(pid: str) -> int:
    """Count the filters of system calls: more than the first process has were set on purpose."""
    with suppress(OSError), Path(f"/proc/{pid}/status").open(encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("Seccomp_filters:"):
                return int(line.split()[1])
    return 0


def _open_streams(caller: Caller) -> None:
    """Read and write anew: a stream remembers what kind of file it had."""
    (stdin, stdin_errors), (stdout, stdout_errors), (stderr, stderr_errors) = caller.encodings
    sys.stdin = os.fdopen(0, encoding=stdin, errors=stdin_errors, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=stdout, errors=stdout_errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=stderr, errors=stderr_errors, closefd=False)


def _take_signals(caller: Caller) -> None:
    """Handle signals as an interpreter does that has just started."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        wanted: Any = signal.SIG_IGN if number in caller.ignored else _PYTHON.get(number, signal.SIG_DFL)
        with suppress(OSError, ValueError):  # two of them belong to the kernel, some to the C library
            if signal.getsignal(number) is not wanted:
                signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, caller.blocked)


def _streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _parts() -> Iterator[str]:
    """Say who we are, where, and what of."""
    yield from (prestow.__version__, sys.executable, sys.prefix, sys.getfilesystemencoding())
    yield from (f"{flag}={getattr(sys.flags, flag)}" for flag in _FLAGS)
    for name in sorted(os.environ):
        if (name.startswith(_READ_AT_START) or name in _ALSO_READ) and name not in _SAME_ANYWAY:
            yield f"{name}={os.environ[name]}"
    with Path("/proc/self/status").open(encoding="ascii", errors="replace") as status:
        yield from (line for line in status if line.startswith(_COMPARED))
    yield f"{_LIBC.prctl(_PR_GET_SECUREBITS)} {_LIBC.personality(ctypes.c_ulong(_ASKED_ONLY))}"
    yield from map(_label, _LABELS)
    yield from sorted(str(space.readlink()) for space in Path("/proc/self/ns").iterdir())
    top = os.stat("/")  # noqa: PTH116 - quick
    yield f"{top.st_dev} {top.st_ino}"
    yield from map(_stamp, (config_file(), *(path for path in sys.path if path.endswith("-packages"))))
    yield _code()


def _label(name: str) -> str:
    """Return a label that a security module has put on this process."""
    try:
        return f"{name} {Path('/proc/self/attr', name).read_text()}"
    except OSError:
        return name


def _stamp(path: str) -> str:
    """Return what tells one state of a file, or of a folder, from another."""
    try:
        found = os.stat(path)  # noqa: PTH116 - quick
    except OSError:
        return path
    return f"{path} {found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _code() -> str:
    """Return what tells one state of our own code from another: in a checkout it may change at any moment."""
    count = newest = 0
    waiting = [str(Path(prestow.__file__).parent), *(str(root() / name) for name in ("flows", "tasks", "config"))]
    where = waiting[-1]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    count, newest = count + 1, max(newest, entry.stat().st_mtime_ns)
                elif "." not in entry.name and not entry.name.startswith("_") and entry.is_dir():
                    waiting.append(entry.path)
    return f"{where} {count} {newest}"
