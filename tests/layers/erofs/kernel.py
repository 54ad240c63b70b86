"""Metadata images in the hands of the kernel and of fsck.erofs: written, mounted or checked, and taken down again."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from prestow.content.local import LocalStore
from prestow.layers.erofs.image import MetadataImage, encode
from prestow.layers.scans import Scans
from prestow.layers.tree.inode import Inode
from prestow.oci.image import Image
from prestow.snapshots.chain import Chain
from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.loop import loop_devices
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


@cache
def fsck_block_bits() -> int:
    """Return the block size of images for the fsck.erofs that is here: ours, if it is new enough, or else 4096 bytes.

    Before 1.6 it knows no others; before 1.9 it breaks over the checksum of a superblock in blocks of 512 bytes.
    """
    said = subprocess.run(["fsck.erofs", "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)", said.stdout + said.stderr)
    assert found, said
    return 9 if (int(found[1]), int(found[2])) >= (1, 9) else 12


def sound(root: Inode, layers: Layers) -> bool:
    """Return whether fsck.erofs accepts a tree.

    A path that it has no room for is no fault of the image, but ends it.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = encode(root, layers.sizes, block_bits=fsck_block_bits())
        said = fsck(saved(image, layers, Path(folder)))
        return "No errors found" in said or "since the path is too long" in said


def sound_image(content: LocalStore, image: Image) -> bool:
    """Return whether fsck.erofs accepts what the layers of an image, which are in a content store, come to."""
    root = Chain.of_image(image).tree(Scans(content).tree)
    return sound(root, Layers(tuple(content.path(layer.diff_id) for layer in image.layers)))
