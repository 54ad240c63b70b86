"""How long commands take that only say something, against an interpreter that does nothing.

    python -m tests.benchmarks.starting [--rounds N] [--vs CODE]

Each round runs every command once, in turn; a ratio is the median over the rounds, of wall and of CPU time. The store
has three images, and is on tmpfs. With ``--vs``, the interpreter runs that code instead: `--vs "import grpc"`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.cli.tables import table
from prestow.store.node import open_node
from tests.stores import grow

_PRESTOW = str(Path(sys.executable).with_name("prestow"))
_IMAGES = 3
_COMMANDS = ("--version", "images", "containers", "snapshots", "in-use docker.io/library/alpine:3.20")


def spent(command: list[str], home: str) -> tuple[float, float]:
    """Return the wall and the CPU seconds of a process, whatever its status."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=os.environ | {"PRESTOW_HOME": home}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print a line for each command."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--vs", default="pass")
    chosen = options.parse_args()
    commands = {"": [sys.executable, "-c", chosen.vs]} | {line: [_PRESTOW, *line.split()] for line in _COMMANDS}
    found: dict[str, list[tuple[float, float]]] = {line: [] for line in commands}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        grow(open_node(f"{home}/store", "default"), _IMAGES)
        for turn in range(chosen.rounds + 1):
            for line, command in commands.items():
                took = spent(command, f"{home}/store")
                if turn:  # the first one fills caches
                    found[line].append(took)
    rows = []
    for line in _COMMANDS:
        pairs = list(zip(found[line], found[""], strict=True))
        wall, cpu = (statistics.median(ours[kind] / theirs[kind] for ours, theirs in pairs) for kind in (0, 1))
        rows.append(
            (f"prestow {line}", f"{wall:.2f}", f"{cpu:.2f}", f"{statistics.median(w for w, _ in found[line]):.3f}")
        )
    print(table(("COMMAND", "WALL RATIO", "CPU RATIO", "SECONDS"), rows))


if __name__ == "__main__":
    main()
