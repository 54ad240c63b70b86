"""Simulated fleets: locked images, what hosts report of them, and the same at a Prefect server."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prestow.fleet.file import Host, ImageSet
from prestow.fleet.lock import LockedImage, LockedLayer, LockedPlatform, LockedSet, short
from prestow.fleet.report import EVENT, Report, ReportedImage

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

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


def hosts(count: int, prefix: str = "gpu") -> tuple[Host, ...]:
    return tuple(Host(name=f"{prefix}-{number:03}") for number in range(count))


def fleet_of(count: int) -> tuple[Host, ...]:
    """Hosts that no other test at the same server has."""
    return hosts(count, f"h{uuid4().hex[:8]}")


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


def emit(client: "SyncPrefectClient", *payloads: Mapping[str, Any] | Report, host: str = "") -> None:
    """Send reports as hosts send them; broken ones for a ``host``."""
    from tests.prefect_records import until

    sent = [
        {
            "occurred": (payload.at if isinstance(payload, Report) else datetime.now(UTC)).isoformat(),
            "event": EVENT,
            "resource": {"prefect.resource.id": f"prestow.host.{host or payload.host}"},  # type: ignore[union-attr]
            "related": [],
            "payload": payload.model_dump(mode="json") if isinstance(payload, Report) else payload,
            "id": str(uuid4()),
        }
        for payload in payloads
    ]
    for begin in range(0, len(sent), 50):
        some = sent[begin : begin + 50]
        client.request("POST", "/events", json=some)
        wanted = {"filter": {"id": {"id": [each["id"] for each in some]}}, "limit": 50}
        until(
            lambda body=wanted: client.request("POST", "/events/filter", json=body).json()["events"],
            len(some),
            "events",
        )  # type: ignore[misc]
