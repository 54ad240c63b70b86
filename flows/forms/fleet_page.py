"""The page of an image set, as Markdown: how far it is, what came of each wave, which hosts lack what, and where.

Hosts and registries wrote names, causes and references: they are set as code. However large the fleet is, only so many
rows are listed; of more than 50 hosts the page has a map instead of a matrix.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flows.forms.figures import duration
from flows.forms.fleet_map import fleet_map
from flows.forms.markdown import cell, code, size
from prestow.errors import printable
from prestow.fleet.status import Cell, HostStatus, Status
from prestow.fleet.verdict import ABSENCES, FAILURES, HostVerdict, Verdict
from prestow.fleet.waves import Wave

MATRIX = 50
"""Hosts up to which the page shows each image on each host."""

_CAUSES = 30  # for which hosts lack something
_NAMED = 20  # hosts with the same one
_CAUSE = 300
_BAR = 40
SIGNS: Mapping[Cell, str] = {
    Cell.PRESENT: "#", Cell.UNUSED: "-", Cell.UNPINNED: "=", Cell.INCOMPLETE: "/", Cell.OTHER: "~", Cell.ABSENT: ".",
    Cell.UNKNOWN: "?",
}  # fmt: skip
"""Signs of a matrix: of ASCII, because browsers take others from fonts in which they are wider."""
_MEANINGS: Mapping[Cell, str] = {
    Cell.PRESENT: "verified", Cell.UNUSED: "not used by the runtime", Cell.UNPINNED: "not pinned by it",
    Cell.INCOMPLETE: "not complete", Cell.OTHER: "another digest", Cell.ABSENT: "not there", Cell.UNKNOWN: "unknown",
}  # fmt: skip

_REMEDIES: Mapping[Verdict, str] = {
    Verdict.FAILED: "mend that, then run `prestow fleet apply {set} --retry-failed`",
    Verdict.REFUSED: "run `prestow prune` on it, or exclude it from the set",
    Verdict.OFFLINE: "start its worker with `prestow node up`; the next rollout asks it again",
    Verdict.SLOW: "give it more time with `timeout` in the fleet file, or exclude it from the set",
    Verdict.SKIPPED: "run `prestow fleet apply {set}`",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is.

    Attributes:
        fetched: compressed bytes that a host fetched, by host, as far as they are known.
        took: seconds since a wave began, or that it took, by its number.
    """

    waves: Sequence[Wave] = ()
    verdicts: Sequence[HostVerdict] = ()
    fetched: Mapping[str, int] = field(default_factory=dict)
    took: Mapping[int, float] = field(default_factory=dict)


def fleet_page(status: Status, progress: Progress | None = None) -> str:
    """Return the page of a set, with a rollout of it in progress or ended, or without."""
    progress = progress or Progress()
    verdicts = {each.host: each for each in progress.verdicts}
    ready, hosts = status.count("ready"), len(status.hosts)
    done = int(_BAR * ready / hosts) if hosts else 0
    lines = [
        f"# {status.set} · generation {status.generation}: {ready} of {hosts} hosts ready",
        "",
        f"`{'█' * done}{'░' * (_BAR - done)}` {100 * ready // hosts if hosts else 0} %",
        "",
        f"As of {status.at:%Y-%m-%d %H:%M:%S} UTC, from what the hosts report.",
        *_hold(status),
        "",
        *_waves(progress, verdicts),
        *([] if hosts <= MATRIX else [_map(status, verdicts), ""]),
        *_lacking(status, progress, verdicts),
        *_images(status),
        *(_each_host(status) if hosts <= MATRIX else []),
    ]
    return "\n".join(lines) + "\n"


def _hold(status: Status) -> list[str]:
    if status.hold is None:
        return []
    reason = f" ({code(status.hold.reason, _CAUSE)})" if status.hold.reason else ""
    since = f"since {status.hold.since:%Y-%m-%d %H:%M} UTC{reason}"
    held = f"**A rollback to generation {status.hold.generation} holds** {since}"
    return ["", f"{held}; `prestow fleet release {status.set}` ends it."]


def _waves(progress: Progress, verdicts: Mapping[str, HostVerdict]) -> Iterator[str]:
    """Yield a row for each wave."""
    if not progress.waves:
        return
    yield from ("| wave | hosts | ready | failed | offline | bytes | took |", "|---|---|---|---|---|---|---|")
    for wave in progress.waves:
        found = Counter(verdicts[host].verdict for host in wave.hosts if host in verdicts)
        moved = sum(progress.fetched.get(host, 0) for host in wave.hosts)
        took = progress.took.get(wave.number)
        counts = (found[Verdict.DONE], sum(found[each] for each in FAILURES), sum(found[each] for each in ABSENCES))
        yield (
            f"| {wave.number} of {wave.of} | {len(wave.hosts)} | {' | '.join(map(str, counts))} | {size(moved)} | "
            f"{'-' if took is None else duration(took)} |"
        )
    yield ""


def _lacking(status: Status, progress: Progress, verdicts: Mapping[str, HostVerdict]) -> Iterator[str]:
    """Yield why hosts lack something, what failed first; hosts whose turn comes are counted.

    It is a list: of a table, Prefect's page cuts off what is at the right, and that is the remedy.
    """
    waiting = {host for wave in progress.waves for host in wave.hosts} - verdicts.keys()
    groups: dict[tuple[str, str], list[str]] = {}
    lacking = [host for host in status.lacking if host.host not in waiting]
    lacking.sort(key=lambda host: host.host not in verdicts or verdicts[host.host].verdict not in FAILURES)
    for host in lacking:
        groups.setdefault(_why(status, host, verdicts.get(host.host)), []).append(host.host)
    if groups:
        yield from ("## Hosts that lack something", "")
    for (why, remedy), hosts in [*groups.items()][:_CAUSES]:
        more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
        count = "" if len(hosts) == 1 else f" ({len(hosts)} hosts)"
        yield f"- {', '.join(code(host) for host in hosts[:_NAMED])}{more}{count}: {code(why, _CAUSE)}; {remedy}"
    yield ""
    if rest := sum(len(hosts) for hosts in [*groups.values()][_CAUSES:]):
        yield f"… and {_hosts(rest)} more: `prestow fleet status {status.set}` lists them."
        yield ""
    if coming := sum(host.host in waiting for host in status.lacking):
        yield f"{_hosts(coming)} more: their wave runs, or comes."
        yield ""


def _hosts(count: int) -> str:
    return f"{count} host{'s' if count > 1 else ''}"


def _why(status: Status, host: HostStatus, verdict: HostVerdict | None) -> tuple[str, str]:
    """Return why a host lacks something, which is foreign, and what to do."""
    if verdict is None or verdict.verdict is Verdict.DONE:
        return host.cause, host.remedy
    cause = verdict.cause.removeprefix(f"{verdict.verdict}: ")
    return f"{verdict.verdict}: {cause}", _REMEDIES[verdict.verdict].format(set=status.set)


def _images(status: Status) -> list[str]:
    rows = [
        f"| {number} | {cell(image.name)} | {cell(image.digest[:19])} | {len(status.hosts)} | {image.present} "
        f"| {image.missing} | {image.unknown} |"
        for number, image in enumerate(status.images, 1)
    ]
    head = "| no. | image | digest | hosts | verified | missing | unknown |"
    return ["## Images", "", head, "|---|---|---|---|---|---|---|", *rows, ""]


def matrix(status: Status) -> str:
    """Return each image on each host, an image a column; no name can break its lines."""
    wide = len(str(len(status.images))) + 1
    names = [printable(host.host) for host in status.hosts]
    left = max(map(len, names), default=0)
    rows = [
        f"{name.ljust(left)}{''.join(f'{SIGNS[each]:>{wide}}' for each in host.images)}"
        for name, host in zip(names, status.hosts, strict=True)
    ]
    head = " " * left + "".join(f"{number:>{wide}}" for number in range(1, len(status.images) + 1))
    return "\n".join([head, *rows])


def legend(status: Status) -> list[str]:
    """Return what the signs mean that are in the matrix."""
    found = {cell for host in status.hosts for cell in host.images}
    return [f"{sign} {_MEANINGS[cell]}" for cell, sign in SIGNS.items() if cell in found]


def _each_host(status: Status) -> list[str]:
    return ["## Hosts", "", "```text", matrix(status), "", "   ".join(legend(status)), "```"]


def _map(status: Status, verdicts: Mapping[str, HostVerdict]) -> str:
    """Return a square for each host."""
    return fleet_map([(host.host, _state(host, verdicts.get(host.host))) for host in status.hosts])


def _state(host: HostStatus, verdict: HostVerdict | None) -> str:
    if host.state == "ready" or verdict is None:
        return host.state
    words = {Verdict.OFFLINE: "unknown", Verdict.SLOW: "slow", **dict.fromkeys(FAILURES, "failed")}
    return words.get(verdict.verdict, host.state)
