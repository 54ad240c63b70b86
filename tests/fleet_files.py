"""Fleet files and their locks for tests, which need no registry."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from prestow.fleet.lock import Lock, LockedImage, LockedLayer, LockedPlatform, LockedSet, lock_path

PLATFORM = "linux/amd64"


def digest(text: str) -> str:
    """Return a digest, the same one for the same text."""
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def locked_image(reference: str, version: str = "1", layers: int = 2, size: int = 1 << 20) -> LockedImage:
    """Return an image as a lock has it; another version has other digests, but for the lowest layer."""
    name = reference if "@" in reference else reference.replace("*", "0")
    names = [f"{name} 0", *(f"{name} {version} {number}" for number in range(1, layers))]
    found = [LockedLayer(digest=digest(each), size=size, diff_id=digest(f"diff {each}")) for each in names]
    platform = LockedPlatform(digest=digest(f"manifest {name} {version}"), layers=tuple(found))
    return LockedImage(
        reference=reference, name=name, digest=digest(f"{name} {version}"), platforms={PLATFORM: platform}
    )


def locked_set(images: list[str], generation: int = 1, version: str = "1") -> LockedSet:
    """Return a set as a lock has it."""
    return LockedSet(generation=generation, images=tuple(locked_image(image, version) for image in images))


def write_fleet(
    folder: Path, hosts: list[str], name: str = "nightly", generation: int = 1, version: str = "1", **image_set: Any
) -> Path:
    """Write a fleet file with one set, and its lock; return its path."""
    images = ["registry.example/team/app:1", "registry.example/team/tool:2"]
    document = {
        "hosts": [{"name": host, "platform": PLATFORM} for host in hosts],
        "sets": {name: {"images": images, **image_set}},
    }
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(document))
    lock_path(path).write_text(Lock(sets={name: locked_set(images, generation, version)}).text())
    return path
