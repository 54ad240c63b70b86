"""What came of a host in a rollout, and when so many hosts went wrong that no further wave begins."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from prestow.fleet.file import Rollout


class Verdict(StrEnum):
    """What came of a host; ``docs/explanation/rollouts.md`` has the causes and remedies."""

    DONE = "done"
    FAILED = "failed"
    OFFLINE = "offline"
    SLOW = "slow"
    REFUSED = "refused"
    SKIPPED = "skipped"


FAILURES = frozenset({Verdict.FAILED, Verdict.REFUSED})
"""Count against ``max_failed``: the host answered, and cannot have the images."""
ABSENCES = frozenset({Verdict.OFFLINE, Verdict.SLOW})
"""Count against ``max_offline``: the host did not answer in time."""


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """What came of one host.

    Attributes:
        cause: why it is not done; empty if it is. It may hold text of the host: escape it for what shows it.
        attempts: number of the last attempt at this host in this rollout; 0 if it had none.
        seconds: that the last run took; None if none has ended.
    """

    host: str
    verdict: Verdict
    cause: str
    attempts: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stop:
    """No further wave begins, and why."""

    reason: str


def stop_after(verdicts: Iterable[HostVerdict], hosts: Collection[str], rollout: Rollout) -> Stop | None:
    """Return why no further wave may begin, or None.

    Args:
        verdicts: of all waves until now.
        hosts: of the whole rollout; shares are of them.
        rollout: how many may fail, and how many may be offline or slow.
    """
    counts = Counter(each.verdict for each in verdicts)
    for kinds, name, share, said in (
        (FAILURES, "max_failed", rollout.max_failed, "failed or were refused"),
        (ABSENCES, "max_offline", rollout.max_offline, "are offline or slow"),
    ):
        found, most = sum(counts[kind] for kind in kinds), share.of(len(hosts))
        if found > most:
            return Stop(f"{found} of {len(hosts)} hosts {said}; {name}: {share} allows {most}")
    return None


def skip(hosts: Iterable[str], cause: str) -> tuple[HostVerdict, ...]:
    """Return verdicts of hosts whose wave never began, or that a person took out."""
    return tuple(HostVerdict(host, Verdict.SKIPPED, cause, 0, None) for host in hosts)


def retry_failed(verdicts: Iterable[HostVerdict]) -> dict[str, int]:
    """Return the hosts that did not get the images, and the number of the next attempt at each.

    Not those that were skipped: a person wanted that, or it is not yet their turn.
    """
    return {each.host: each.attempts + 1 for each in verdicts if each.verdict in FAILURES | ABSENCES}
