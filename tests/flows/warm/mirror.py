"""A warm process without Prefect, whose commands show what reached them."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from flows.outliving import leave_starter
from flows.warm.server import Server


def run(words: Sequence[str]) -> int:
    """Run a command."""
    verb, *rest = words
    return {"show": show, "copy": copy, "exit": leave, "signals": signals, "ended": ended, "raise": fail}[verb](*rest)


def is_open(number: int) -> bool:
    """Return whether a descriptor is."""
    with suppress(OSError):
        os.fstat(number)
        return True
    return False


def show() -> int:
    """Show this process as JSON."""
    umask = os.umask(0)
    os.umask(umask)
    shown = {
        "environment": dict(os.environ), "directory": str(Path.cwd()), "umask": umask, "pid": os.getpid(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE), "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "ignored": [n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
        "terminals": [os.isatty(n) for n in range(3)], "open": [n for n in range(100) if is_open(n)],
        "encoding": sys.stdout.encoding, "leader": os.getsid(0) == os.getpid(), "standing": standing(),
    }  # fmt: skip
    print(json.dumps(shown))
    return 0


def standing() -> dict[str, str]:
    """Show how the kernel treats this process, in its own words and those of its tools."""
    own = Path("/proc/self")
    files = {name: own.joinpath(name).read_text() for name in ("cgroup", "limits", "oom_score_adj", "timerslack_ns")}
    tools = {tool: [tool, "-p", str(os.getpid())] for tool in ("taskset", "ionice", "chrt")}
    return files | {
        tool: subprocess.run(command, check=True, capture_output=True, text=True).stdout.rpartition(": ")[2]
        for tool, command in tools.items()
    }


def copy() -> int:
    """Copy standard input, and complain."""
    sys.stdout.write(sys.stdin.read())
    print("done", file=sys.stderr)
    return 0


def leave(status: str) -> int:
    """End with a status."""
    sys.exit(int(status))


def fail() -> int:
    """Fail as a program does that has an error in it."""
    raise ValueError("an error of the program")


def ended(number: str) -> int:
    """End by a signal."""
    os.kill(os.getpid(), int(number))
    time.sleep(60)
    return 1


def signals(*numbers: str) -> int:
    """Say which of these signals arrive, up to the last of them."""
    wanted = {int(number) for number in numbers}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    print("ready", flush=True)
    while (number := signal.sigwait(wanted)) != int(numbers[-1]):
        print(signal.Signals(number).name, flush=True)
    print(signal.Signals(number).name, flush=True)
    return 0


if __name__ == "__main__":
    leave_starter("mirror", files=2, to_return=True)
    if "PRESTOW_MIRROR_THREAD" in os.environ:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    idle = 60 * float(os.environ.get("PRESTOW_WARM_MINUTES", "10"))
    Server(*sys.argv[1:], run, idle).serve()  # type: ignore[misc]
