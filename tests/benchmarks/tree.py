"""How many entries a second the tree model takes in, and how many bytes of memory each costs.

    python -m tests.benchmarks.tree                       the table
    python -m tests.benchmarks.tree ENTRIES LAYERS        one line of it

Tars are read, resolved and merged as unpacking does it; their members are synthetic: one folder, a symlink and 18 files
of 512 bytes, and so on, evenly over the layers. Memory is the growth of the process (peak of its resident set), with
the tree of the image and those of all layers held; each line is a process of its own. Promised are 400 bytes an entry
on top of 100 MiB, and time that grows with the number of entries only.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from prestow.layers.limits import Limits
from prestow.layers.scans import scan
from prestow.layers.tree import merge, walk
from tests.tar_builder import header

_CASES = [(10_000, 1), (100_000, 1), (1_000_000, 1), (100_000, 100), (100_000, 500), (1_000_000, 100), (1_000_000, 500)]
_FOLDER = 20
_MIB = 1 << 20
_PAGE_KIB = 1024


def _members(first: int, count: int) -> Iterator[bytes]:
    for number in range(first, first + count):
        folder, place = divmod(number, _FOLDER)
        path = f"usr/lib/{folder % 97}/package-{folder}/"
        if place == 0:
            yield header(path, typeflag=b"5", mode=0o755, mtime=folder)
        elif place == 1:
            yield header(f"{path}link", typeflag=b"2", link="module-2.py", mtime=folder)
        else:
            yield header(f"{path}module-{place}.py", size=512, mtime=folder) + bytes(512)


def _line(entries: int, layers: int, folder: Path) -> str:
    tars = []
    for index in range(layers):
        tars.append(folder / str(index))
        each = entries // layers
        with tars[-1].open("wb") as file:
            file.writelines(_members(index * each, each))
    before, start = getrusage(RUSAGE_SELF).ru_maxrss, time.perf_counter()
    scans, root = [], None
    for index, tar in enumerate(tars):
        with tar.open("rb") as file:
            scans.append(scan(file, index, Limits()))
    scanned = time.perf_counter()
    for found in scans:
        root = merge(root, found.tree)
    merged = time.perf_counter()
    grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) * _PAGE_KIB
    assert root is not None
    inodes = sum(1 for _ in walk(root))
    rates = f"{entries / (scanned - start):>12,.0f} {entries / (merged - scanned):>12,.0f}"
    return f"{entries:>9} {layers:>7} {inodes:>9} {rates} {grown / _MIB:>8.1f} {grown / entries:>12.0f}"


def main() -> None:
    """Print the table, or one line."""
    if sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            print(_line(int(sys.argv[1]), int(sys.argv[2]), Path(folder)))
        return
    print("  entries  layers     inodes    scanned/s     merged/s      MiB  bytes/entry")
    for entries, layers in _CASES:
        subprocess.run([sys.executable, "-m", "tests.benchmarks.tree", str(entries), str(layers)], check=True)


if __name__ == "__main__":
    main()
