"""From a loopback docker-registry to committed snapshots: prestow's engine against containerd and plain pipes.

    python -m tests.benchmarks.unpack [--images DIR] [--rounds N] [--disk DIR]

Needs root, a quiet machine, and Debian's containerd, docker-registry, skopeo, pigz and isal. The image is ``ml`` of
``tests/make-images``: 35,000 entries, 4 layers. Contestants take turns, so that a drift of the machine meets all of
them, and ratios are those of the medians. Everything but the disk rows is on a tmpfs.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flows.cli.tables import table
from tests.benchmarks.peers import Containerd, pipes, tmpfs
from tests.real_images import VARIANTS
from tests.registries import DockerRegistry, docker_registry

Contestant = Callable[[], float]


def push(registry: DockerRegistry, layout: Path, variant: str) -> str:
    """Push ``ml`` in one of the variants."""
    target = f"{registry.domain}/bench/ml:{variant}"
    command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", *VARIANTS[variant]]
    subprocess.run([*command, f"oci:{layout}:ml", f"docker://{target}"], check=True)
    return target


class Prestow:
    """The engine, each pull in a process and a store of its own."""

    def __init__(self, home: Path, driver: str = "erofs") -> None:
        """Use the store ``home``, emptied before each pull."""
        self.home, self.driver = home, driver
        self.peaks: list[float] = []

    def pull(self, reference: str) -> float:
        """Pull once, and give the seconds."""
        shutil.rmtree(self.home, ignore_errors=True)
        command = [sys.executable, "-m", "tests.benchmarks.engine", reference, str(self.home), self.driver]
        took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        self.peaks.append(took["peak_mib"])
        return float(took["total"])


def in_turn(contestants: dict[str, Contestant], rounds: int) -> dict[str, float]:
    """Let all take turns, once to warm up and then ``rounds`` times; give the median of each."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            took = run()
            if turn:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


def on_memory(registry: DockerRegistry, layout: Path, folder: Path, rounds: int) -> list[tuple[str, ...]]:
    """Race on a tmpfs."""
    gzip, zstd = push(registry, layout, "oci"), push(registry, layout, "zstd")
    erofs, overlay = Prestow(folder / "erofs"), Prestow(folder / "overlay", "overlay")
    containerd = Containerd(folder / "containerd")
    medians = in_turn(
        {
            "erofs": lambda: erofs.pull(gzip),
            "pipes": lambda: pipes(gzip, folder / "pipes"),
            "ctr": lambda: containerd.pull(gzip),
            "erofs zstd": lambda: erofs.pull(zstd),
            "ctr zstd": lambda: containerd.pull(zstd),
            "overlay": lambda: overlay.pull(gzip),
        },
        rounds,
    )
    peak = max(erofs.peaks)
    return [
        row("gzip, erofs : ctr", medians["ctr"], medians["erofs"], "≥ 2.2x faster"),
        row("gzip, erofs : curl | igzip | tar", medians["erofs"], medians["pipes"], "≤ 1.15x"),
        row("zstd, erofs : ctr", medians["ctr zstd"], medians["erofs zstd"], "≥ 1.8x faster"),
        row("gzip, overlay : ctr", medians["ctr"], medians["overlay"], "≥ 1.5x faster"),
        ("peak memory of a pull", f"{peak:.0f} MiB", "", "", "tree + 100 MiB"),
    ]


def on_disk(registry: DockerRegistry, layout: Path, folder: Path, rounds: int) -> list[tuple[str, ...]]:
    """Race on a disk, until everything is durable."""
    gzip = push(registry, layout, "oci")
    erofs, containerd = Prestow(folder / "erofs"), Containerd(folder / "containerd")
    medians = in_turn({"erofs": lambda: erofs.pull(gzip), "ctr": lambda: containerd.pull(gzip, sync=True)}, rounds)
    return [row("disk, durable, erofs : ctr + sync", medians["ctr"], medians["erofs"], "≥ 3x faster")]


def bundles(registry: DockerRegistry, layout: Path, folder: Path, rounds: int) -> list[tuple[str, ...]]:
    """Time bundles of an image that is unpacked, against ``cp -a`` from its mount."""
    home = folder / "bundles"
    Prestow(home).pull(push(registry, layout, "oci"))
    command = [sys.executable, "-m", "tests.benchmarks.bundling", str(home), str(folder / "made"), str(rounds)]
    took = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return [
        ("bundle of an unpacked image", f"{took['bundle'] * 1000:.1f} ms", "", "", "≤ 50 ms"),
        row("bundle --copy : cp -a", took["copy"], took["cp"], "≤ 1.2x"),
    ]


def row(what: str, over: float, under: float, aim: str) -> tuple[str, ...]:
    """Lay one ratio out."""
    return what, f"{over:.2f} s", f"{under:.2f} s", f"{over / under:.2f}", aim


def main() -> None:
    """Run all races, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path.home() / ".cache/prestow-images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"))
    args = parser.parse_args()
    subprocess.run([Path(__file__).parent.parent / "make-images", args.images, "ml"], check=True, capture_output=True)
    layout = args.images / "oci"
    with (
        tempfile.TemporaryDirectory(prefix="prestow-bench-") as scratch,
        tmpfs(Path(scratch) / "memory", "12g") as memory,
        docker_registry(memory / "registry") as registry,
    ):
        began = time.perf_counter()
        rows = on_memory(registry, layout, memory, args.rounds)
        rows += bundles(registry, layout, memory, args.rounds)
        disk = Path(tempfile.mkdtemp(prefix="prestow-bench-", dir=args.disk))
        rows += on_disk(registry, layout, disk, args.rounds)
        shutil.rmtree(disk)
        print(table(("RACE", "OVER", "UNDER", "RATIO", "AIM"), rows))
        print(f"medians of {args.rounds} rounds, {time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
