"""What is on the hosts of a set: each image on each host, from their last reports alone, against the lock.

    present      the digest of the lock is there under its name, complete and verified
    other        the name is there with another digest
    incomplete   the digest is there, and not all of it
    unused       it is there, and the set wants that the host's container runtime uses it, which it would not
    unpinned     the runtime uses it, and the set wants that it is pinned there, which it is not
    absent       the name is not there
    unknown      the host's report is missing or too old

A set has converged when every image is present on every host; that a run ended well proves nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime

from prestow.errors import printable
from prestow.fleet.document import Document
from prestow.fleet.file import HandOver, Host, HostName, SetName
from prestow.fleet.hold import Hold
from prestow.fleet.lock import DigestText, LockedImage, LockedSet
from prestow.fleet.plan import is_known, unknown
from prestow.fleet.report import ONLY_STORED, Report, ReportedImage

_REASON = 300


class Cell(StrEnum):
    """One image on one host; see the table above."""

    PRESENT = "present"
    OTHER = "other"
    INCOMPLETE = "incomplete"
    UNUSED = "unused"
    UNPINNED = "unpinned"
    ABSENT = "absent"
    UNKNOWN = "unknown"


_OF_RUNTIME = {Cell.UNUSED: "does not use", Cell.UNPINNED: "does not pin"}
"""A container runtime's part in what is missing."""


class HostStatus(Document):
    """What one host has.

    Attributes:
        state: ``ready``: everything is there; ``missing``: something is not; ``failed``: likewise, and the host's last
            run could not pull it; ``unknown``.
        seconds: age of its report; None without one.
        generation: of the set, the one whose run ended last.
        images: in the order of the lock.
        free_bytes: of its disk; None if unknown.
        cause: why it is not ready, and ``remedy``, what to do.
    """

    host: HostName
    state: Literal["ready", "missing", "failed", "unknown"]
    seconds: float | None
    generation: int | None
    images: tuple[Cell, ...]
    free_bytes: int | None
    cause: str = ""
    remedy: str = ""


class ImageStatus(Document):
    """Where one image is.

    Attributes:
        present: hosts that have it.
        missing: hosts that do not.
        unknown: hosts of which that is not known.
        verified: of the hosts that have it, when the one did so whose verification is the oldest.
    """

    name: str
    digest: DigestText
    present: int
    missing: int
    unknown: int
    verified: AwareDatetime | None


class Status(Document):
    """What is on the hosts of a set.

    Attributes:
        generation: against which it is judged: the lock's, or that of the hold.
        hold: the rollback in force, if one is.
    """

    set: SetName
    generation: int
    at: AwareDatetime
    hosts: tuple[HostStatus, ...]
    images: tuple[ImageStatus, ...]
    hold: Hold | None = None

    @property
    def has_converged(self) -> bool:
        """Whether every image is on every host."""
        return all(host.state == "ready" for host in self.hosts)

    @property
    def lacking(self) -> tuple[HostStatus, ...]:
        """The hosts that are not ready."""
        return tuple(host for host in self.hosts if host.state != "ready")

    def explained(self, why: Mapping[str, str]) -> "Status":
        """Return it with causes, "cause; remedy", of hosts that lack images for more reasons than their reports say."""
        hosts = tuple(
            _because(host, why[host.host]) if host.state == "missing" and host.host in why else host
            for host in self.hosts
        )
        return self.model_copy(update={"hosts": hosts})

    def count(self, state: str) -> int:
        """Return how many hosts are in a state."""
        return sum(host.state == state for host in self.hosts)


def _because(host: HostStatus, why: str) -> HostStatus:
    cause, _, remedy = why.partition("; ")
    return host.model_copy(update={"cause": f"{host.cause}: {cause}", "remedy": remedy})


def status(  # noqa: PLR0913, PLR0917 - all that is compared
    set_name: str,
    locked: LockedSet,
    hosts: Sequence[Host],
    reports: Mapping[str, Report],
    now: datetime,
    hold: Hold | None = None,
    hand_over: HandOver = ONLY_STORED,
) -> Status:
    """Compare hosts with a generation of a set; with a hold, ``locked`` is the generation that holds.

    With ``hand_over``, images are present only where the host's container runtime has them so.
    """
    judged = tuple(_of_host(set_name, locked, host.name, reports.get(host.name), now, hand_over) for host in hosts)
    known = [report for host in hosts if (report := reports.get(host.name)) is not None and is_known(report, now)]
    verified: dict[tuple[str, str], datetime] = {}
    for report in known:
        for image in report.images:
            if image.serves(hand_over):
                key = image.name, image.digest
                verified[key] = min(verified.get(key, image.verified), image.verified)
    columns = zip(*(host.images for host in judged), strict=True)
    images = tuple(
        ImageStatus(
            name=image.name,
            digest=image.digest,
            present=(present := cells.count(Cell.PRESENT)),
            missing=len(cells) - present - cells.count(Cell.UNKNOWN),
            unknown=cells.count(Cell.UNKNOWN),
            verified=verified.get((image.name, image.digest)),
        )
        for image, cells in zip(locked.images, columns, strict=True)
    )
    return Status(set=set_name, generation=locked.generation, at=now, hosts=judged, images=images, hold=hold)


def _of_host(
    set_name: str, locked: LockedSet, host: str, report: Report | None, now: datetime, hand_over: HandOver
) -> HostStatus:
    seconds = None if report is None else (now - report.at).total_seconds()
    generation = None if report is None else report.generations.get(set_name)
    if report is None or not is_known(report, now):
        cause, _, remedy = unknown(report, now).partition("; ")
        return HostStatus(
            host=host, state="unknown", seconds=seconds, generation=generation,
            images=(Cell.UNKNOWN,) * len(locked.images), free_bytes=None, cause=cause, remedy=remedy,
        )  # fmt: skip
    there: dict[str, list[ReportedImage]] = {}
    for each in report.images:
        there.setdefault(each.name, []).append(each)
    cells = tuple(_cell(image, there.get(image.name, []), hand_over) for image in locked.images)
    state, cause, remedy = _judged(set_name, locked, cells, report)
    return HostStatus(
        host=host, state=state, seconds=seconds, generation=generation, images=cells,
        free_bytes=report.free_bytes, cause=cause, remedy=remedy,
    )  # fmt: skip


def _cell(image: LockedImage, there: Sequence[ReportedImage], hand_over: HandOver) -> Cell:
    same = [each for each in there if each.digest == image.digest]
    if not same:
        return Cell.OTHER if there else Cell.ABSENT
    complete = [each for each in same if each.complete]
    if not complete:
        return Cell.INCOMPLETE
    if any(each.serves(hand_over) for each in complete):
        return Cell.PRESENT
    return Cell.UNPINNED if any(each.in_use for each in complete) else Cell.UNUSED


def _judged(
    set_name: str, locked: LockedSet, cells: Sequence[Cell], report: Report
) -> tuple[Literal["ready", "missing", "failed"], str, str]:
    """Return state, cause and remedy of a host that is known."""
    lacking = [image for image, cell in zip(locked.images, cells, strict=True) if cell != Cell.PRESENT]
    if not lacking:
        return "ready", "", ""
    retry = f"run `prestow fleet apply {set_name} --retry-failed`"
    wanted = {image.name: image for image in lacking}
    for failure in report.failures:
        image = wanted.get(failure.image.partition("@")[0]) or next(
            (each for each in lacking if failure.image in (each.pinned, each.reference)), None
        )
        if image is not None:
            error = printable(failure.error, _REASON)
            return "failed", f"{printable(image.name)}: {error}", f"mend that, then {retry}"
    incomplete = [image.name for image, cell in zip(locked.images, cells, strict=True) if cell == Cell.INCOMPLETE]
    if incomplete:
        return "missing", f"{_listed(incomplete)} not complete", "run `prestow fsck --all --repair` on the host"
    for cell, fault in _OF_RUNTIME.items():
        names = [image.name for image, each in zip(locked.images, cells, strict=True) if each == cell]
        if len(names) == len(lacking):
            cause = f"its container runtime {fault} {_listed(names)}"
            return "missing", cause, f"run `prestow fleet apply {set_name}`, and `prestow in-use` on the host"
    cause = f"lacks {_listed([image.name for image in lacking])}"
    return "missing", cause, f"run `prestow fleet apply {set_name}`"


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name) for name in names[:most]) + more
