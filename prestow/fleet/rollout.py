"""One look at a wave: from what the API shows to what is decided and what to do now.

    observe ──▶ judge ──▶ act (crash, cancel, then release) ──▶ observe …      until the wave is over

``judge`` keeps nothing between two looks. A coordinator that was killed finds the same runs and comes to the same
verdicts, because what was decided against a run stands in the message of its state: ``offline: …``, ``slow: …``,
``double: …``. Doing again what was done already changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self

from prestow.errors import printable
from prestow.fleet.file import Host, Rollout
from prestow.fleet.polling import HEARTBEAT_SECONDS, absence, is_alive
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave

RunState = Literal["waiting", "running", "completed", "failed", "refused", "crashed", "cancelled"]

RUN_HEARTBEAT_SECONDS = 60.0
"""Between two heartbeats of a run, as `prestow node up` sets it: Prefect's 180 s would hold a wave for ten minutes."""

_DOUBLE = "double"
_MARKS: Mapping[str, Verdict | None] = {Verdict.OFFLINE: Verdict.OFFLINE, Verdict.SLOW: Verdict.SLOW, _DOUBLE: None}
_LIVE = frozenset({"waiting", "running"})
_FINAL = {"completed": Verdict.DONE, "refused": Verdict.REFUSED}
_BY_A_PERSON = "cancelled by a person"
_AWAY = "it was offline when its turn came"
_SHOWN = 500  # characters of a cause


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``prepull`` for one host, as the API shows it.

    Attributes:
        attempt: which try of this rollout at this host it is, from 1.
        state: ``waiting``: scheduled or pending; ``running``: also while it is being cancelled; ``refused``: by the
            host, because it does not fit or is not allowed.
        message: of the state. Of a run that is being cancelled, or was, it is the message with which that began.
        began: when it began to run.
        beat: the last heartbeat of the run, if any is known.
    """

    id: str
    host: str
    attempt: int
    state: RunState
    message: str
    began: datetime | None
    ended: datetime | None
    created: datetime
    beat: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it has not ended, or if it never began."""
        return None if self.began is None or self.ended is None else (self.ended - self.began).total_seconds()

    @property
    def mark(self) -> str:
        """What a coordinator decided against it: ``offline``, ``slow``, ``double``, or an empty text."""
        word, colon, _ = self.message.partition(": ")
        return word if colon and word in _MARKS and self.state not in {"completed", "failed", "refused"} else ""


@dataclass(frozen=True, slots=True)
class Rules:
    """How long and how often hosts are asked; all times in seconds.

    Attributes:
        timeout: that a run may take.
        retries: attempts after the first one.
        timeouts: of hosts with limits of their own.
        first: number of the first attempt at hosts that are asked again (:func:`prestow.fleet.verdict.retry_failed`);
            others begin with 1.
        grace: that a run may wait at a host that is online; None: as long as it may take.
        worker_interval: between heartbeats of a worker.
        run_interval: between heartbeats of a run.
    """

    timeout: float = 3600.0
    retries: int = 1
    timeouts: Mapping[str, float] = field(default_factory=dict)
    first: Mapping[str, int] = field(default_factory=dict)
    grace: float | None = None
    worker_interval: float = HEARTBEAT_SECONDS
    run_interval: float = RUN_HEARTBEAT_SECONDS

    @classmethod
    def of(cls, rollout: Rollout, hosts: Iterable[Host], first: Mapping[str, int] | None = None) -> Self:
        """Return what a fleet file says; the limits of a host go before the rollout."""
        own = {host.name: host.limits.timeout for host in hosts if host.limits.timeout is not None}
        return cls(rollout.timeout, rollout.retries, own, first or {})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is decided after a look, and what to do, in this order: crash, cancel, release.

    Attributes:
        verdicts: of the hosts that are decided, in the order of the wave. Each may still become ``done``.
        crash: (ID, message) of runs whose process is dead: to be set Crashed with this message, even against the rules.
        cancel: (ID, message) of runs that wait or run and should not: to be cancelled with this message.
        release: (host, attempt) of runs to make now.
        over: whether every host has a verdict and nothing is to be done.
    """

    verdicts: tuple[HostVerdict, ...]
    crash: tuple[tuple[str, str], ...]
    cancel: tuple[tuple[str, str], ...]
    release: tuple[tuple[str, int], ...]
    over: bool


def judge(  # noqa: PLR0913 - all that one look shows
    wave: Wave,
    runs: Iterable[Run],
    beats: Mapping[str, datetime | None],
    now: datetime,
    rules: Rules,
    *,
    closed: bool = False,
    heard: datetime | None = None,
) -> Judgement:
    """Judge a wave by what one look shows.

    Args:
        wave: whose hosts are judged; runs of other hosts are ignored.
        runs: all runs of the rollout, earlier attempts included. A run may be there twice: the later news count.
        beats: last heartbeat of the worker of each host; a host that no worker was ever seen of is missing.
        now: the time of the look.
        rules: how long and how often hosts are asked.
        closed: whether a later wave has begun (:func:`begun`): no run is made any more.
        heard: since when the API answers without a break, as far as the coordinator knows (``is_alive``).
    """
    found = _by_host(wave.hosts, runs)
    look = _Look(now, rules, closed, heard)
    for host in wave.hosts:
        verdict = look.verdict(host, found.get(host, ()), beats)
        if verdict is not None:
            look.verdicts.append(verdict)
    idle = not (look.crash or look.cancel or look.release)
    return Judgement(
        tuple(look.verdicts),
        tuple(look.crash),
        tuple(look.cancel),
        tuple(look.release),
        over=idle and len(look.verdicts) == len(wave.hosts),
    )


def begun(waves: Iterable[Wave], runs: Iterable[Run], rules: Rules) -> int:
    """Return the number of the last wave that has a run, 0 if none has: there a coordinator resumes."""
    hosts = {run.host for run in runs if run.attempt >= rules.first.get(run.host, 1)}
    return max((wave.number for wave in waves if not hosts.isdisjoint(wave.hosts)), default=0)


def _by_host(hosts: Iterable[str], runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the runs of some hosts, each run once and the oldest first."""
    wanted = set(hosts)
    latest: dict[str, Run] = {}
    for run in runs:
        if run.host in wanted and (run.id not in latest or _news(latest[run.id]) < _news(run)):
            latest[run.id] = run
    found: dict[str, list[Run]] = {}
    for run in latest.values():
        found.setdefault(run.host, []).append(run)
    for several in found.values():
        several.sort(key=lambda run: (run.attempt, run.created, run.id))
    return found


def _news(run: Run) -> tuple[int, bool, float, str, str]:
    """Return what grows from an older to a newer sight of the same run."""
    rank = 3 if run.state == "completed" else 0 if run.state == "waiting" else 1 if run.state == "running" else 2
    at = max((time.timestamp() for time in (run.beat, run.began, run.ended) if time is not None), default=0.0)
    return rank, bool(run.mark), at, run.state, run.message


@dataclass(slots=True)
class _Look:
    """A look in progress."""

    now: datetime
    rules: Rules
    closed: bool
    heard: datetime | None
    verdicts: list[HostVerdict] = field(default_factory=list)
    crash: list[tuple[str, str]] = field(default_factory=list)
    cancel: list[tuple[str, str]] = field(default_factory=list)
    release: list[tuple[str, int]] = field(default_factory=list)

    def verdict(self, host: str, runs: Sequence[Run], beats: Mapping[str, datetime | None]) -> HostVerdict | None:
        """Return the verdict on a host, None while it is open, and add what is to be done."""
        first = self.rules.first.get(host, 1)
        run = _counted(runs, first)
        for other in runs:
            if other is not run and other.state in _LIVE and other.mark != _DOUBLE:
                self.cancel.append((other.id, f"{_DOUBLE}: another run of {host} counts"))
        absent = absence(host, beats, self.rules.worker_interval, self.now, self.heard)
        if run is None:
            if absent or self.closed:
                return HostVerdict(host, Verdict.OFFLINE, absent or _AWAY, first - 1, None)
            self.release.append((host, first))
            return None
        if run.state == "waiting":
            return self._waiting(run, absent)
        if run.state == "running":
            return self._running(run, absent)
        return self._ended(run, absent)

    def _waiting(self, run: Run, absent: str) -> HostVerdict | None:
        waited, grace = self._since(run.created), self.rules.grace
        if absent:
            return _against(self.cancel, run, Verdict.OFFLINE, absent)
        if waited > (self._timeout(run) if grace is None else grace):
            return _against(self.cancel, run, Verdict.SLOW, f"its worker did not begin the run within {waited:.0f} s")
        return None

    def _running(self, run: Run, absent: str) -> HostVerdict | None:
        decided = _MARKS.get(run.mark)
        sign = max(time for time in (run.beat, run.began, run.created) if time is not None)
        if not is_alive(sign, self.rules.run_interval, self.now, self.heard) and (absent or run.beat is not None):
            lost = f"no sign of life from the run since {_moment(sign)}"
            if decided or absent:
                return _against(self.crash, run, decided or Verdict.OFFLINE, lost)
            self.crash.append((run.id, lost))  # the host is back, and can try again
            return None
        if decided:
            return _decided(run, decided, _cause(run))
        if run.began is not None and self._since(run.began) > self._timeout(run):
            return _against(self.cancel, run, Verdict.SLOW, self._too_long(run))
        return None

    def _ended(self, run: Run, absent: str) -> HostVerdict | None:
        decided = _MARKS.get(run.mark)
        if run.state == "cancelled" and not run.mark:  # Prefect's worker puts its own message over ours
            slow = run.seconds is not None and run.seconds > self._timeout(run)
            return _decided(run, *(Verdict.SLOW, self._too_long(run)) if slow else (Verdict.SKIPPED, _BY_A_PERSON))
        if run.state in _FINAL or decided is Verdict.SLOW:
            return _decided(run, decided or _FINAL[run.state], _cause(run))
        left = run.attempt < self.rules.first.get(run.host, 1) + self.rules.retries
        if left and not absent and not self.closed:
            self.release.append((run.host, run.attempt + 1))
            return None
        if left and not decided:
            return _decided(run, Verdict.OFFLINE, f"{absent or _AWAY}; attempt {run.attempt}: {_cause(run)}")
        return _decided(run, decided or Verdict.FAILED, _cause(run))

    def _timeout(self, run: Run) -> float:
        return self.rules.timeouts.get(run.host, self.rules.timeout)

    def _too_long(self, run: Run) -> str:
        return f"the run took longer than {self._timeout(run):.0f} s"

    def _since(self, time: datetime) -> float:
        return (self.now - time).total_seconds()


def _counted(runs: Sequence[Run], first: int) -> Run | None:
    """Return the run that decides about a host: a completed one, else the oldest of the last attempt."""
    done = next((run for run in runs if run.state == "completed"), None)
    if done is not None or not runs or runs[-1].attempt < first:
        return done
    last = [run for run in runs if run.attempt == runs[-1].attempt]
    return next((run for run in last if run.mark != _DOUBLE), last[0])


def _decided(run: Run, verdict: Verdict, cause: str) -> HostVerdict:
    return HostVerdict(run.host, verdict, cause, run.attempt, run.seconds)


def _against(act: list[tuple[str, str]], run: Run, verdict: Verdict, cause: str) -> HostVerdict:
    """End a run, with a message by which the next look knows the verdict."""
    act.append((run.id, f"{verdict}: {cause}"))
    return _decided(run, verdict, cause)


def _cause(run: Run) -> str:
    """Return the message of a run as one harmless line, without our mark."""
    if run.state == "completed":
        return ""
    return printable(run.message.removeprefix(f"{run.mark}: "), _SHOWN) or f"{run.state}, without a message"


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"
