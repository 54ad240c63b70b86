"""What a host reports: which images are there and verified, what is free, and how fast it pulls.

It travels as the payload of the event ``prestow.host.report`` and as the data of the artifact ``prestow-host-<name>``.
A host decides what is in it, so whoever reads it trusts no text of it.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated

from pydantic import AwareDatetime, Field

from prestow.fleet.document import Document
from prestow.fleet.file import HandOver, HostName, PlatformName, SetName
from prestow.fleet.lock import DigestText
from prestow.fleet.names import key_of

EVENT = "prestow.host.report"
"""Name of the event; its resource is ``prestow.host.<name>``."""

Bytes = Annotated[int, Field(ge=0, lt=1 << 62)]

ONLY_STORED = HandOver()
"""Of a set whose images are in the stores of its hosts, and handed over to no runtime."""

_LONGEST = 7 * 86400  # seconds between two reports


def artifact_key(host: str) -> str:
    """Return the key of the artifact of a host."""
    return f"prestow-host-{key_of(host)}"


class ReportedImage(Document):
    """A name in the host's store.

    Attributes:
        digest: its target.
        verified: when all of its data was last compared with its digests: pulled, or checked by fsck.
        complete: whether all that the host needs of it is there, unpacked.
        bytes: compressed bytes of its layers.
        in_use: whether the host's container runtime says that it would use it; None if it was handed over to none.
        pinned: whether that runtime's garbage collection leaves it.
    """

    name: str = Field(max_length=600)
    digest: DigestText
    verified: AwareDatetime
    complete: bool
    bytes: Bytes = 0
    in_use: bool | None = None
    pinned: bool = False

    def serves(self, hand_over: HandOver) -> bool:
        """Whether it is there as a set wants it: complete and, where the set asks for it, in use, and pinned."""
        used = not hand_over.is_wanted or bool(self.in_use)
        return self.complete and used and (self.pinned or not hand_over.pin)


class ReportedFailure(Document):
    """An image that the host's last run could not bring there."""

    image: str = Field(max_length=1200)
    error: str = Field(max_length=2000)
    at: AwareDatetime


class ReportedMember(Document):
    """An image that a set brought to the host.

    Attributes:
        generation: the last one of the set that wanted it.
    """

    set: SetName
    name: str = Field(max_length=600)
    digest: DigestText
    generation: int


class Report(Document):
    """What one host says of itself.

    Attributes:
        store: ID of its store, which tells two hosts with one name apart.
        at: when the report was made, by the host's clock.
        interval: seconds until the next one at the latest.
        version: of prestow.
        generations: of each set, the one whose run ended last on this host.
        members: images that sets brought, those of earlier generations included.
        complete: of each set, the generations all of whose images came here, the one that ended last first.
        layers: of each unpacked layer, the first hex digits of its diff ID (:func:`prestow.fleet.lock.short`).
        free_bytes: that images may still take.
        disk_bytes: size of the store's file system.
        rate: compressed bytes per second of the last pulls, over time; None if nothing was fetched yet.
    """

    host: HostName
    store: str = Field(max_length=100)
    at: AwareDatetime
    interval: float = Field(gt=0, le=_LONGEST)
    version: str = Field(max_length=50)
    platform: PlatformName
    generations: Mapping[SetName, int] = Field(default_factory=dict)
    images: tuple[ReportedImage, ...] = ()
    members: tuple[ReportedMember, ...] = ()
    complete: Mapping[SetName, tuple[int, ...]] = Field(default_factory=dict)
    layers: frozenset[str] = frozenset()
    free_bytes: Bytes
    disk_bytes: Bytes
    rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    failures: tuple[ReportedFailure, ...] = ()

    def is_current(self, now: datetime) -> bool:
        """Whether it is at most two intervals old, and no more ahead: nothing may be concluded from another one."""
        return abs((now - self.at).total_seconds()) <= 2 * self.interval

    @property
    def digest(self) -> str:
        """A digest of what a plan rests on: images and layers; time, rate and free space differ in each report."""
        images = sorted((each.name, each.digest, each.complete, str(each.in_use), each.pinned) for each in self.images)
        content = (self.store, self.platform, sorted(self.generations.items()), images, sorted(self.layers))
        return f"sha256:{sha256(repr(content).encode()).hexdigest()}"
