"""What it takes to have ``ml`` used by containerd: handed over from a store, against a pull from a loopback mirror.

And what it takes to have three images used by podman, one after the other.

    python -m tests.benchmarks.handing_over [--images DIR] [--containerd DIR] [--rounds N] [--disk DIR]

Needs root, a quiet machine, and a file system that overlayfs takes as its upper layer, such as ext4. The mirror is
``prestow serve`` of the same store. Without ``--containerd``, which names a folder with the programs of containerd
2.3.4 or later, Debian's is used, and nothing is linked. Contestants take turns, each on a containerd that has nothing
but the image of pods, and ratios are those of the medians. ``in-use`` is the command, in a process of its own; all else
is measured in this process, as in one that runs all the time.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.cli.tables import table
from prestow.digest import Digest
from prestow.handover.choose import runtime_at
from prestow.handover.hand_over import hand_over
from prestow.oci.image import Image
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.store.node import Node, open_node
from tests.containerd import DEBIAN, PAUSE, Containerd, containerd
from tests.cri import Cri, cri, write_pause
from tests.flows.cli.conftest import Prestow
from tests.podman import podman
from tests.pulling import pulled
from tests.serving import serving

IMAGES = {f"registry.example/bench/{tag}:1": tag for tag in ("tiny", "base", "ml")}
NAME = "registry.example/bench/ml:1"
_MIB = 1 << 20


@dataclass
class Race:
    """All that contestants share.

    Attributes:
        folder: of everything, on one file system.
        programs: folder of containerd's programs.
        times: seconds of each round, by what was timed.
        added: bytes on disk of each round, likewise.
    """

    folder: Path
    programs: Path
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    added: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def home(self) -> Path:
        """The store."""
        return self.folder / "store"

    def fill(self, layout: Path) -> None:
        """Bring the images here."""
        node = open_node(self.home)
        for name, tag in IMAGES.items():
            pulled(node, f"oci:{layout}:{tag}", name, drivers=("erofs",))
        write_pause(self.folder / "pause")
        pulled(node, f"oci:{self.folder / 'pause'}:pause", PAUSE, drivers=("erofs",))
        node.close()

    def round(self, snapshotter: str) -> None:
        """Hand over twice, then start a container."""
        way = "linked" if snapshotter == "erofs" else "applied"
        with self._fresh(snapshotter) as (running, node, pods):
            _only_whole_images(node)
            node.scans  # noqa: B018 - imports what a warm process has
            before = self._used(running)
            for name in (way, f"{way} again"):
                with self._timed(name):
                    given = hand_over(node, NAME, _image(node, NAME))
                assert given.form == way, given.why
            self.added[way].append(self._used(running) - before)
            command = Prestow(self.home, running.environment(), self.folder)
            with self._timed(f"in-use, {way}"):
                assert command("in-use", NAME).status == 0
            self._start(pods, way)

    def podman(self) -> None:
        """Hand three images over to podman, twice, and take them back."""
        folder = self.folder / "podman"
        with podman(folder, self.home / "podman") as program, closing(open_node(self.home)) as node:
            os.environ.update(program.environment)
            images = {name: _image(node, name) for name in IMAGES}
            before = self._used()
            for again in ("", " again"):
                with self._timed(f"podman, 3 images{again}"):
                    for name, image in images.items():
                        hand_over(node, name, image, "podman")
            self.added["podman, 3 images"].append(self._used() - before)
            for record in node.hand_overs.list():  # those of containerds that are gone among them
                if record.runtime == "podman":
                    runtime_at(node, record).undo(record)
                node.hand_overs.drop(record)
        shutil.rmtree(folder)

    def pull(self) -> None:
        """Pull through the mirror, then start a container."""
        with self._fresh("overlayfs") as (running, _, pods):
            before = self._used(running)
            command = Prestow(self.home, {}, self.folder)
            with serving(command, "--hosts-toml", str(running.folder / "certs.d")), self._timed("pulled"):
                pods.pull(NAME)
            self.added["pulled"].append(self._used(running) - before)
            self._start(pods, "pulled")

    @contextmanager
    def _fresh(self, snapshotter: str) -> Iterator[tuple[Containerd, Node, Cri]]:
        root = self.folder / "containerd"
        with containerd(root, programs=self.programs, snapshotter=snapshotter) as running:
            os.environ["PRESTOW_CONTAINERD_ADDRESS"] = str(running.address)
            node = open_node(self.home)
            hand_over(node, PAUSE, _image(node, PAUSE))
            with cri(running.address) as pods:
                yield running, node, pods
            node.close()
        shutil.rmtree(root)
        subprocess.run(["sync"], check=True)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.times[name].append(time.perf_counter() - began)

    def _start(self, pods: Cri, way: str) -> None:
        with pods.pod(self.folder / "logs") as pod, self._timed(f"first container, {way}"):
            pods.start(pod, NAME, "true")

    def _used(self, running: Containerd | None = None) -> int:
        """Return the bytes on disk of the store and of containerd together, each file once; mounts are left out."""
        tops = [self.home] if running is None else [self.home, running.folder / "root"]
        command = ["du", "--summarize", "--total", "--one-file-system", "--block-size=1", *tops]
        return int(subprocess.run(command, capture_output=True, check=True).stdout.splitlines()[-1].split()[0])


def _image(node: Node, name: str) -> Image:
    return find_image(node.content, node.image(name).target, host())


def _only_whole_images(node: Node) -> None:
    """Remove the metadata images that an earlier hand-over had made of lower chain IDs."""
    for layer in _image(node, NAME).layers[:-1]:
        (node.home / f"snapshots/erofs/{Digest(layer.chain_id).encoded}.erofs").unlink(missing_ok=True)


def rows(race: Race) -> Iterator[tuple[str, ...]]:
    """Lay the medians out."""
    times = {name: statistics.median(each) for name, each in race.times.items()}
    added = {name: f"{statistics.median(each) / _MIB:.2f} MiB" for name, each in race.added.items()}
    aims = {
        "linked": "≤ 0.8 s, ≤ 4 MiB", "linked again": "≤ 0.05 s", "applied": "≤ 1.0", "applied again": "≤ 0.05 s",
        "in-use, linked": "< 0.3 s", "in-use, applied": "< 0.3 s", "podman, 3 images": "≤ 0.3 s, < 1 MiB",
    }  # fmt: skip
    for name in sorted(times, key=lambda each: (each.startswith("first"), each)):
        against = times["first container, pulled" if name.startswith("first") else "pulled"]
        aim = aims.get(name, "≤ 1.0" if name.startswith("first") and not name.endswith("pulled") else "")
        yield name, f"{times[name]:.3f} s", f"{times[name] / against:.3f}", added.get(name, ""), aim


def main() -> None:
    """Run the race, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path.home() / ".cache/prestow-images")
    parser.add_argument("--containerd", type=Path, default=DEBIAN)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"))
    args = parser.parse_args()
    subprocess.run(
        [Path(__file__).parent.parent / "make-images", args.images, *IMAGES.values()], check=True, capture_output=True
    )
    with tempfile.TemporaryDirectory(prefix="prestow-bench-", dir=args.disk) as folder:
        race = Race(Path(folder), args.containerd)
        race.fill(args.images / "oci")
        for _ in range(args.rounds):
            race.podman()
            race.pull()
            race.round("overlayfs")
            if args.containerd != DEBIAN:
                race.round("erofs")
        print(table(("CONTAINERD HAS ML", "TIME", ": PULLED", "DISK ADDED", "AIM"), rows(race)))
        print(f"medians of {args.rounds} rounds, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
