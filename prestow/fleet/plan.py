"""What a rollout would do: per host, from its last report, what it lacks, takes, and whether that fits.

    lock ─┐
    hosts ┼─▶ plan ─▶ each host: ready | missing | unknown | refused
    reports ┘

A host is *ready* if its last run was of this generation and all images are there; *unknown* if its report is missing or
too old: it is never taken for empty, and a rollout asks it. A layer that several images share is counted once a host.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import accumulate
from math import ceil
from typing import Literal

from pydantic import AwareDatetime

from prestow.errors import printable
from prestow.fleet.document import Document
from prestow.fleet.file import Disk, Host, HostName, ImageReference, ImageSet, SetName
from prestow.fleet.lock import DigestText, LockedImage, LockedSet
from prestow.fleet.missing import Missing
from prestow.fleet.quantities import Share
from prestow.fleet.report import Report
from prestow.sizes import size

_SLOWEST = 1.0  # bytes per second; a lower rate says nothing


class HostPlan(Document):
    """What a rollout would do on one host.

    Attributes:
        images: names of those that are missing, in the lock's order; of an unknown host none.
        layers: that are missing.
        fetch_bytes: compressed bytes of these.
        needed_bytes: that they take on the disk, an estimate.
        disk_after: free bytes afterwards; None for an unknown host.
        seconds: that fetching takes at the host's last rate; None if that is unknown.
        removes: images of earlier generations that leave the set; ``unused_for`` may let more of them go.
        reason: why the host is not ready, and the remedy where there is one.
    """

    host: HostName
    state: Literal["ready", "missing", "unknown", "refused"]
    images: tuple[str, ...] = ()
    layers: int = 0
    fetch_bytes: int = 0
    needed_bytes: int = 0
    disk_after: int | None = None
    seconds: float | None = None
    removes: tuple[str, ...] = ()
    reason: str = ""


class Change(Document):
    """What a reference stands for in this generation and in the one before it.

    Attributes:
        before: name and digest; None if it was not in the set.
        after: likewise; None if it is not in the set any more.
    """

    reference: ImageReference
    before: str | None
    after: str | None


class Plan(Document):
    """What a rollout of a set would do.

    Attributes:
        lock_digest: of the set in the lock.
        report_digests: of the reports that the plan was made from, by host.
        egress_bytes: that leave the registry if each host that is not refused asks it.
        egress_with_mirror: that leave it if each blob does so once.
        changes: against the generation before, in the order of the lock; those that are gone last.
    """

    set: SetName
    generation: int
    lock_digest: DigestText
    report_digests: Mapping[HostName, DigestText]
    made: AwareDatetime
    hosts: tuple[HostPlan, ...]
    egress_bytes: int
    egress_with_mirror: int
    changes: tuple[Change, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of all that it says."""
        return f"sha256:{sha256(self.model_dump_json().encode()).hexdigest()}"

    @property
    def is_nothing_to_do(self) -> bool:
        """Whether every host is ready."""
        return all(host.state == "ready" for host in self.hosts)

    def of_state(self, state: str) -> tuple[HostPlan, ...]:
        """Return the hosts in a state."""
        return tuple(host for host in self.hosts if host.state == state)


def plan(  # noqa: PLR0913, PLR0917 - all that a plan is made from
    set_name: str,
    image_set: ImageSet,
    locked: LockedSet,
    hosts: Sequence[Host],
    reports: Mapping[str, Report],
    now: datetime,
    before: LockedSet | None,
) -> Plan:
    """Plan a rollout of a set on the hosts that it selects.

    ``reports`` has the last one of each host, by name; ``before`` is the generation that was applied before, None if
    there was none or it is unknown.
    """
    used = {host.name: reports[host.name] for host in hosts if is_known(reports.get(host.name), now)}
    made, blobs = [], dict[str, int]()
    for host in hosts:
        if host.name in used:
            missing = Missing(locked, host, used[host.name], image_set.hand_over)
            made.append(_of_host(set_name, image_set, locked, host, missing))
            if made[-1].state != "refused":
                blobs.update((layer.digest, layer.size) for layer in missing.every_layer)
        else:
            made.append(HostPlan(host=host.name, state="unknown", reason=unknown(reports.get(host.name), now)))
    return Plan(
        set=set_name,
        generation=locked.generation,
        lock_digest=locked.digest,
        report_digests={name: report.digest for name, report in used.items()},
        made=now,
        hosts=tuple(made),
        egress_bytes=sum(each.fetch_bytes for each in made if each.state != "refused"),
        egress_with_mirror=sum(blobs.values()),
        changes=tuple(changes(before, locked)),
    )


def is_known(report: Report | None, now: datetime) -> bool:
    """Whether a host's report says what the host has now."""
    return report is not None and report.is_current(now)


def unknown(report: Report | None, now: datetime) -> str:
    """Return why nothing is known of a host, and the remedy."""
    if report is None:
        return "no report; run `prestow node up` on it"
    seconds = (now - report.at).total_seconds()
    if seconds < 0:
        return f"its report is of {report.at:%Y-%m-%d %H:%M} UTC, in the future; set the clock of the host"
    interval = report.interval / 60
    return f"its report is {age(seconds)} old, its interval {interval:.3g} min; look at its worker (`prestow node up`)"


def age(seconds: float) -> str:
    """Return how old something is, as people say it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def stale(made: Plan, locked: LockedSet, reports: Mapping[str, Report]) -> tuple[str, ...]:
    """Return what moved since a plan was made, each as a sentence; empty if it still holds."""
    moved = []
    if locked.generation != made.generation:
        moved.append(f"the lock is at generation {locked.generation}, the plan at {made.generation}")
    elif locked.digest != made.lock_digest:
        moved.append(f"generation {locked.generation} of the lock has other content than in the plan")
    for host in made.hosts:
        report, digest = reports.get(host.host), made.report_digests.get(host.host)
        if digest is None:
            if report is not None and report.at > made.made:
                moved.append(f"{host.host} was unknown, and has reported since")
        elif report is None:
            moved.append(f"{host.host} had a report, which is gone")
        elif report.digest != digest:
            moved.append(f"{host.host} reported other images or layers than in the plan")
    return tuple(moved)


def changes(before: LockedSet | None, after: LockedSet) -> Iterator[Change]:
    """Yield what a generation changes against the one before it."""
    old = {} if before is None else {image.reference: _exact(image) for image in before.images}
    for image in after.images:
        now, then = _exact(image), old.pop(image.reference, None)
        if then != now:
            yield Change(reference=image.reference, before=then, after=now)
    for reference, then in old.items():
        yield Change(reference=reference, before=then, after=None)


def _exact(image: LockedImage) -> str:
    return image.name if "@" in image.name else f"{image.name}@{image.digest}"


def _of_host(set_name: str, image_set: ImageSet, locked: LockedSet, host: Host, missing: Missing) -> HostPlan:
    report, layers = missing.report, missing.every_layer
    fetch = sum(layer.size for layer in layers)
    needed = ceil(fetch * image_set.disk.factor)
    rate = report.rate if report.rate is not None and report.rate >= _SLOWEST else None
    state: Literal["ready", "missing", "refused"] = "missing"
    ran, reason = report.generations.get(set_name), ""
    if refusal := _refusal(image_set.disk, host, missing, needed):
        state, reason = "refused", refusal
    elif missing.images:
        reason = "its rate is not known yet" if fetch and rate is None else ""
    elif ran != locked.generation:
        reason = f"all images are there; its last run was of {f'generation {ran}' if ran else 'no generation'}"
    else:
        state = "ready"
    return HostPlan(
        host=host.name,
        state=state,
        images=tuple(image.name for image in missing.images),
        layers=len(layers),
        fetch_bytes=fetch,
        needed_bytes=needed,
        disk_after=report.free_bytes - needed,
        seconds=0.0 if fetch == 0 else None if rate is None else fetch / rate,
        removes=tuple(_removed(set_name, image_set, locked, report)),
        reason=reason,
    )


def _refusal(disk: Disk, host: Host, missing: Missing, needed: int) -> str:
    """Return why a set cannot be on a host, naming the first image that is too much, and the remedy; empty if it can.

    What retention will free counts for nothing: it comes after the pulls.
    """
    if missing.foreign:
        names = ", ".join(printable(image.name) for image in missing.foreign)
        return f"the lock has no {printable(missing.platform)} of {names}; run `prestow fleet lock`"
    free, floor = missing.report.free_bytes, floor_bytes(disk, host, missing.report)
    if needed == 0 or free - needed >= floor:
        return ""
    fetched = accumulate(sum(layer.size for layer in layers) for layers in missing.layers)
    sums = zip(missing.images, missing.layers, fetched, strict=True)
    first = next(image for image, layers, sum_ in sums if layers and free - ceil(sum_ * disk.factor) < floor)
    return (
        f"{printable(first.name)} does not fit, {size(needed + floor - free)} missing: all images take {size(needed)} "
        f"more, {size(free)} are free, {size(floor)} must stay free; "
        f"run `prestow prune` and `prestow node report` on {host.name}, or exclude it from the set"
    )


def floor_bytes(disk: Disk, host: Host, report: Report) -> int:
    """Return the bytes of a host's disk that must stay free; the host's own limit goes first."""
    free = disk.free if host.limits.free is None else host.limits.free
    return free.of(report.disk_bytes) if isinstance(free, Share) else free


def _removed(set_name: str, image_set: ImageSet, locked: LockedSet, report: Report) -> Iterator[str]:
    """Yield the images of earlier generations that leave the set once this generation is complete on the host."""
    wanted = {(image.name, image.digest) for image in locked.images}
    earlier = [each for each in report.complete.get(set_name, ()) if each != locked.generation]
    staying = earlier[: image_set.retention.generations - 1]
    for each in report.members:
        if each.set == set_name and (each.name, each.digest) not in wanted and each.generation not in staying:
            yield f"{each.name.partition('@')[0]}@{each.digest}"
