"""Metadata images in the hands of the kernel and of fsck.erofs: written, mounted or checked, and taken down again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prestow.layers.erofs import MetadataImage, encode
from prestow.layers.node import Node
from prestow.snapshots import syscalls
from prestow.snapshots.loop import loop_devices
from tests.trees import Layers


def saved(image: MetadataImage, layers: Layers, folder: Path) -> list[Path]:
    """Write an image, and its side file if it has one; give the files in the order of the mount's devices."""
    path = folder / "image.erofs"
    with path.open("xb") as file:
        image.write(file)
    if not image.side_size:
        return [path, *layers.paths]
    side = folder / "image.side"
    with side.open("xb") as file:
        image.write_side(file, layers.open)
    return [path, *layers.paths, side]


@contextmanager
def mounted(files: list[Path], target: Path) -> Iterator[Path]:
    """Mount an image and its devices, through loop devices, which works on every file system."""
    target.mkdir()
    with loop_devices(files) as (image, *devices):
        options = ",".join(f"device={device}" for device in devices)
        syscalls.mount(str(image), str(target), "erofs", syscalls.MS_RDONLY, options)
    try:
        yield target
    finally:
        syscalls.umount(str(target))
        target.rmdir()


def fsck(files: list[Path]) -> str:
    """Let fsck.erofs read everything in an image and its devices, and give what it says."""
    image, *devices = files
    command = ["fsck.erofs", "-d3", "--extract", *(f"--device={device}" for device in devices), str(image)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def sound(root: Node, layers: Layers) -> bool:
    """Tell whether fsck.erofs accepts a tree, in blocks of 4096 bytes: before version 1.6 it knows no others."""
    with tempfile.TemporaryDirectory() as folder:
        return "No errors found" in fsck(saved(encode(root, layers.sizes, block_bits=12), layers, Path(folder)))
