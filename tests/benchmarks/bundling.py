"""Time bundles of an unpacked image: ``python -m tests.benchmarks.bundling HOME FOLDER ROUNDS``; prints JSON."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from prestow.containers.create import Container, remove_container, write_copy, write_mounted
from prestow.oci.image import Image
from prestow.oci.lookup import find_image, read_config
from prestow.platforms import host
from prestow.runtime.overrides import Overrides
from prestow.runtime.spec import Spec
from prestow.runtime.transform import transform_config
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.root_view import looked_at
from prestow.store.node import Node, open_node


def spec_of(node: Node, image: Image) -> Spec:
    """Do the step ``transform_config``."""
    with looked_at(node.snapshotter("erofs"), image.chain_id, node.home / "looks") as rootfs:
        return transform_config(read_config(node.content, image.config), Overrides(), rootfs, host=host())


def bundle(node: Node, name: str, folder: Path) -> float:
    """Make a mounted bundle as the flow does, and give the seconds; then remove it."""
    began = time.perf_counter()
    image = find_image(node.content, node.image(name).target, host())
    spec = spec_of(node, image)
    created = create_snapshot(node.snapshotter("erofs"), "bench", image.chain_id)
    write_mounted(node, Container("bench", name, image, created), created, spec, folder)
    took = time.perf_counter() - began
    remove_container(node, "bench")
    return took


def copy(node: Node, name: str, folder: Path) -> float:
    """Make a bundle whose root is a full copy, in a process that has scanned nothing yet."""
    began = time.perf_counter()
    image = find_image(node.content, node.image(name).target, host())
    write_copy(node, image, spec_of(node, image), folder)
    return time.perf_counter() - began


def cp(node: Node, name: str, folder: Path) -> float:
    """Copy the mounted image with ``cp -a``."""
    image = find_image(node.content, node.image(name).target, host())
    with looked_at(node.snapshotter("erofs"), image.chain_id, node.home / "looks") as rootfs:
        began = time.perf_counter()
        subprocess.run(["cp", "-a", rootfs.path, folder], check=True)
        return time.perf_counter() - began


def main(home: str, folder: str, rounds: str) -> None:
    """Let all take turns, and print the medians."""
    node = open_node(home)
    (record,) = node.images.list()
    node.snapshotter("erofs")
    times: dict[str, list[float]] = {"bundle": [], "copy": [], "cp": []}
    for turn in range(int(rounds) + 1):
        for contestant in (bundle, copy, cp):
            target = Path(folder) / contestant.__name__
            target.parent.mkdir(exist_ok=True)
            took = contestant(node, record.name, target)
            shutil.rmtree(target, ignore_errors=True)
            if turn:
                times[contestant.__name__].append(took)
    print(json.dumps({name: statistics.median(found) for name, found in times.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
