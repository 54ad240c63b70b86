"""How long a command looks for what crashes left, where there is nothing: in a new store, and in a full one.

    python -m tests.benchmarks.recovery [--images N] [--rounds N]

Images have three layers each and a container stands on each; medians of processes that have opened the store and
imported what they need. At most 20 ms are promised.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.cli.tables import table
from prestow.store.node import Node, open_node
from tests.image_factory import write_image
from tests.pulling import pulled
from tests.tar_builder import Tar

_TIMED = """
import sys, time
from importlib import import_module
from prestow.store.node import open_node
node = open_node(sys.argv[1])
node.images.list(), node.snapshotters, import_module("prestow.store.recovery")
began = time.perf_counter()
node.recover()
print(time.perf_counter() - began)
"""


def fill(node: Node, folder: Path, images: int) -> None:
    """Pull so many images, of which no two share a layer, and prepare a container's snapshot on each."""
    for number in range(images):
        layers = [Tar().file(f"{number}-{layer}", b"x").to_bytes() for layer in range(3)]
        write_image(folder / "layout", layers, ref=f"image-{number}")
        _, image = pulled(node, f"oci:{folder}/layout:image-{number}", f"localhost/image-{number}", drivers=("native",))
        node.snapshotter("native").prepare(f"container-{number}", image.chain_id)


def recovered(home: Path, rounds: int) -> float:
    """Return the median of the seconds that a process takes for it, after one that may have something to do."""
    command = [sys.executable, "-c", _TIMED, str(home)]
    took = [float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(rounds + 1)]
    return statistics.median(took[1:])


def main() -> None:
    """Take both times, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prestow-bench-") as scratch:
        folder = Path(scratch)
        rows = []
        for images in (0, args.images):
            node = open_node(folder / f"store-{images}")
            fill(node, folder, images)
            took = 1000 * recovered(node.home, args.rounds)
            rows.append((images, 4 * images, f"{took:.1f} ms", "≤ 20 ms"))
    print(table(("IMAGES", "SNAPSHOTS", "TOOK", "AIM"), rows))


if __name__ == "__main__":
    main()
