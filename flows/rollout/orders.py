"""The orders of a rollout: for each host, the parameters of the run that brings it the images of its set."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from flows.rollout import tags
from flows.rollout.runs import Wanted
from prestow.fleet.file import Host, ImageSet
from prestow.fleet.lock import LockedSet
from prestow.fleet.order import Order
from prestow.fleet.quantities import Share


@dataclass(frozen=True, slots=True)
class Orders:
    """What all orders of a rollout share.

    Attributes:
        name: of the image set.
        deployment: ID of the deployment ``prepull/prepull``.
        disks: size of the disk of each host that reports it, in bytes.
    """

    name: str
    image_set: ImageSet
    locked: LockedSet
    rollout: str
    deployment: UUID
    hosts: Mapping[str, Host]
    disks: Mapping[str, int]

    def wanted(self, host: str, attempt: int) -> Wanted:
        """Return the run of a host, of one attempt."""
        images = [image.pinned for image in self.locked.images]
        count = f"{len(images)} image{'' if len(images) == 1 else 's'}"
        return Wanted(
            host=host,
            name=f"prepull {host} · {count}",
            key=f"prestow:{self.name}:{self.locked.generation}:{self.rollout}:{attempt}:{host}",
            tags=[
                *tags.of_coordinator(self.name, self.locked.generation, self.rollout),
                *tags.of_host(host, attempt),
            ],
            parameters={
                "images": images,
                "platform": self.hosts[host].platform,
                "parallel": self.hosts[host].limits.parallel or self.image_set.rollout.parallel,
                "home": self.hosts[host].store,
                "order": self._order(host, attempt).model_dump(mode="json"),
            },
        )

    def _order(self, host: str, attempt: int) -> Order:
        retention = self.image_set.retention
        return Order(
            host=host,
            set=self.name,
            generation=self.locked.generation,
            rollout=self.rollout,
            attempt=attempt,
            free_bytes=self._free_bytes(host),
            generations=retention.generations,
            unused_seconds=retention.unused_for,
            pin=retention.pin,
            hand_over=self.image_set.hand_over,
        )

    def _free_bytes(self, host: str) -> int:
        """Return what must stay free of a host's disk; a part of a disk of unknown size is left to the host."""
        limit = self.hosts[host].limits.free
        floor = self.image_set.disk.free if limit is None else limit
        return floor.of(self.disks.get(host, 0)) if isinstance(floor, Share) else floor
