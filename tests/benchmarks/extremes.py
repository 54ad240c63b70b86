"""What the largest images take, and 16 pulls at once: CPU time, peak memory, and each against something usual.

    python -m tests.benchmarks.extremes [layers] [files] [zeros] [together] [--driver DRIVER]

    layers    500 of them                        seconds of CPU a layer, against 50 layers
    files     1,000,000 in one layer             CPU and memory a file, against 100,000
    zeros     a layer of 10 GB of zeros, gzip    CPU a GB, against 1 GB
    together  16 images pulled at once           the wall time of all, against one after the other

Images come from layouts on the disk, by the engine alone, each pull in a process of its own. On tmpfs.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from flows.cli.tables import table
from prestow.digest import Digest
from prestow.oci import mediatypes
from tests.image_factory import put_blob, put_documents, tag, write_image
from tests.tar_builder import Tar, header

ROOT = Path(__file__).parents[2]
_PIECE = 64 << 20
_TOGETHER = 16
_FRESH = count()


def pull(driver: str, layout: Path, scratch: Path) -> "subprocess.Popen[bytes]":
    """Begin to pull the image of a layout into a new store."""
    command = [sys.executable, "-m", "tests.benchmarks.engine", f"oci:{layout}:test"]
    return subprocess.Popen([*command, scratch / f"store{next(_FRESH)}", driver], cwd=ROOT, stdout=subprocess.PIPE)


def figures(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Wait for a pull, and give what it printed."""
    out, _ = process.communicate()
    assert process.returncode == 0
    found: dict[str, float] = json.loads(out)
    return found


def layers(layout: Path, number: int) -> None:
    """Write an image of many layers, a file each."""
    write_image(layout, [Tar().file(f"{n:06d}", b"x").to_bytes() for n in range(number)])


def files(layout: Path, number: int) -> None:
    """Write an image of many small files, a thousand in a directory."""
    headers = b"".join(header(f"d{n // 1000:04d}/f{n:07d}") for n in range(number))
    write_image(layout, [headers + bytes(1024)], compression="zstd")


def zeros(layout: Path, gigabytes: int) -> None:
    """Write an image of one file of zeros: the same piece of gzip, again and again."""
    size = gigabytes * 10**9 // _PIECE * _PIECE
    first = header("zeros", size=size)
    pieces = [first, *(size // _PIECE * [bytes(_PIECE)]), bytes(1024)]
    packed = {piece: _member(piece) for piece in (first, bytes(_PIECE), bytes(1024))}
    plain = hashlib.sha256()
    for piece in pieces:
        plain.update(piece)
    blob = put_blob(layout, b"".join(packed[piece] for piece in pieces), f"{mediatypes.OCI_LAYER}+gzip")
    tag(layout, put_documents(layout, [blob], [Digest(f"sha256:{plain.hexdigest()}")]), "test")


def _member(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(data) + packer.flush()


_CASES: dict[str, tuple[Callable[[Path, int], None], tuple[int, int]]] = {
    "layers": (layers, (50, 500)),
    "files": (files, (100_000, 1_000_000)),
    "zeros": (zeros, (1, 10)),
}

_UNITS = {"zeros": "GB of zeros"}


def case(name: str, driver: str, scratch: Path) -> Iterator[tuple[str, ...]]:
    """Pull a usual and an extreme image, and yield a row of figures for each."""
    write, sizes = _CASES[name]
    usual = 0.0
    for size in sizes:
        layout = scratch / f"{name}{size}"
        write(layout, size)
        found = figures(pull(driver, layout, scratch))
        each = found["cpu"] / size
        usual = usual or each
        yield (
            f"{size} {_UNITS.get(name, name)}",
            f"{found['cpu']:.1f} s",
            f"{each / usual:.2f}",
            f"{found['peak_mib']:.0f} MiB",
        )


def together(driver: str, scratch: Path) -> Iterator[tuple[str, ...]]:
    """Pull different images one after the other, and others at once."""
    took = []
    for at_once in (False, True):
        layouts = [scratch / f"together{at_once}{n}" for n in range(_TOGETHER)]
        for layout in layouts:
            data = Tar()
            for n in range(200):
                data.file(f"{layout.name}-{n}", f"{layout.name}{n}".encode() * 4000)
            write_image(layout, [data.to_bytes()])
        began = time.monotonic()
        if at_once:
            found = [figures(process) for process in [pull(driver, layout, scratch) for layout in layouts]]
        else:
            found = [figures(pull(driver, layout, scratch)) for layout in layouts]
        took.append(time.monotonic() - began)
        cpu, peak = sum(one["cpu"] for one in found), max(one["peak_mib"] for one in found)
        what = f"{_TOGETHER} pulls {'at once' if at_once else 'in turn'}, {took[-1]:.1f} s"
        yield what, f"{cpu:.1f} s", f"{took[-1] / took[0]:.2f}", f"{peak:.0f} MiB"


def main() -> None:
    """Take the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*_CASES, "together"], default=[*_CASES, "together"])
    parser.add_argument("--driver", default="erofs")
    args = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for name in args.cases:
        with tempfile.TemporaryDirectory(prefix="prestow-bench-") as folder:
            given = (args.driver, Path(folder))
            rows += together(*given) if name == "together" else case(name, *given)
    print(table(("PULL", "CPU", "RATIO", "PEAK"), rows))


if __name__ == "__main__":
    main()
