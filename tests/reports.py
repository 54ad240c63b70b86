"""Simulated fleets: locked images, and what hosts report of them; values, without Prefect."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from prestow.fleet.file import Host, ImageSet
from prestow.fleet.lock import LockedImage, LockedLayer, LockedPlatform, LockedSet, short
from prestow.fleet.report import Report, ReportedImage

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
GIB = 1 << 30


def digest(text: object) -> str:
    return f"sha256:{sha256(str(text).encode()).hexdigest()}"


def layer(number: int, size: int = GIB) -> LockedLayer:
    """A layer that is known by its number."""
    return LockedLayer(digest=digest(f"blob {number}"), size=size, diff_id=digest(f"diff {number}"))


def image(name: str, *layers: LockedLayer, platform: str = "linux/amd64", version: object = 1) -> LockedImage:
    """An image for one platform, other under another ``version``."""
    manifest = LockedPlatform(digest=digest(f"{name} {version} manifest"), layers=layers)
    return LockedImage(
        reference=name, name=name, digest=digest(f"{name} {version}"), platforms={platform: manifest}
    )  # fmt: skip


def locked_set(*images: LockedImage, generation: int = 12) -> LockedSet:
    return LockedSet(generation=generation, images=images)


def image_set(locked: LockedSet, **more: Any) -> ImageSet:
    """The set of the fleet file from which a lock was made."""
    return ImageSet.model_validate({"images": [each.reference for each in locked.images], **more})


def hosts(count: int) -> tuple[Host, ...]:
    return tuple(Host(name=f"gpu-{number:03}") for number in range(count))


def report(host: str, there: Iterable[LockedImage] = (), besides: Iterable[LockedLayer] = (), **more: Any) -> Report:
    """What a host reports that has these images, and these layers besides."""
    there = tuple(there)
    known = [*besides, *(each for image in there for one in image.platforms.values() for each in one.layers)]
    fields: Mapping[str, Any] = {
        "host": host, "store": f"store-{host}", "at": NOW, "interval": 900.0, "version": "1", "platform": "linux/amd64",
        "generations": {"nightly": 12}, "free_bytes": 100 * GIB, "disk_bytes": 200 * GIB, "rate": 1e8,
        "images": tuple(
            ReportedImage(name=image.name, digest=image.digest, verified=NOW, complete=True) for image in there
        ),
        "layers": frozenset(short(each.diff_id) for each in known),
    }  # fmt: skip
    return Report.model_validate({**fields, **more})
