"""A fleet in memory, as a coordinator sees it through an API, and the loop of a coordinator that can be killed.

Time passes in ticks. A host that is on sends heartbeats and takes one run at a time; one that goes off leaves its run
as it was. Looks can be late, doubled, incomplete and in any order; requests can be doubled, and messages lost.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Literal

from prestow.fleet.file import Rollout
from prestow.fleet.rollout import RUN_HEARTBEAT_SECONDS, Judgement, Rules, Run, begun, judge
from prestow.fleet.verdict import HostVerdict, Stop, skip, stop_after
from prestow.fleet.waves import Wave, waves

TICK = 15
NEVER = 10**9
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = ("waiting", "running")
Ending = Literal["completed", "failed", "refused", "crashed", "dies"]


@cache
def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


@dataclass
class Host:
    """How a host behaves.

    Attributes:
        endings: of its attempts in order; the last one repeats. ``dies``: the host goes off in mid-run, for good.
        seconds: that a run takes.
        off: when it is off: (from, until).
        known: whether its worker was ever seen.
        stopped: whether a person cancels its first attempt as soon as it runs.
    """

    endings: tuple[Ending, ...] = ("completed",)
    seconds: int = 60
    off: tuple[tuple[int, int], ...] = ()
    known: bool = True
    stopped: bool = False

    def is_on(self, now: int) -> bool:
        """Whether the host is on."""
        return not self.off or not any(begin <= now < end for begin, end in self.off)

    def ending(self, attempt: int) -> Ending:
        """Return how an attempt ends."""
        return self.endings[min(attempt, len(self.endings)) - 1]


@dataclass
class Faults:
    """What goes wrong between world and coordinator; all parts of one.

    Attributes:
        late: runs and heartbeats that a look shows as they were up to ``lag`` seconds ago, or not yet.
        twice: runs that a look shows twice, once as they are and once as they were.
        double: requests for a run that make two.
        lost: cancelled runs in whose state the worker's message replaces the coordinator's.
        kills: how many requests the coordinator makes in each of its lives; then it lives on.
        downtime: seconds until it is started again.
        once: whether a repeated request gives the run that is there.
    """

    late: float = 0
    lag: int = 60
    twice: float = 0
    double: float = 0
    lost: float = 0
    kills: Sequence[int] = ()
    downtime: int = 0
    once: bool = True


class KilledError(Exception):
    """The coordinator was killed."""


@dataclass
class World:
    """All hosts and runs."""

    hosts: dict[str, Host]
    faults: Faults
    random: Random
    now: int = 0
    histories: dict[str, list[tuple[int, Run]]] = field(default_factory=dict)
    keys: dict[tuple[str, int], str] = field(default_factory=dict)
    queues: dict[str, list[str]] = field(default_factory=dict)
    beats: dict[str, list[int]] = field(default_factory=dict)
    processes: dict[str, tuple[str, int]] = field(default_factory=dict)
    cancelling: dict[str, int] = field(default_factory=dict)
    requests: int | None = None
    """That the coordinator may still make in this life."""

    def __post_init__(self) -> None:
        """Let workers that were ever seen have a heartbeat."""
        self.beats = {n: [-TICK if host.is_on(0) else -86400] for n, host in self.hosts.items() if host.known}

    @property
    def runs(self) -> list[Run]:
        """All runs as they are."""
        return [history[-1][1] for history in self.histories.values()]

    def change(self, run: Run, **what: object) -> None:
        """Bring a run into another state."""
        self.histories[run.id].append((self.now, replace(run, **what)))  # type: ignore[arg-type]

    def advance(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(0, seconds, TICK):
            self.now += TICK
            for name, host in self.hosts.items():
                self._tick(name, host)

    def _tick(self, name: str, host: Host) -> None:
        if not host.is_on(self.now):
            self.processes.pop(name, None)
            return
        if host.known and self.now % 30 == 0:
            self.beats.setdefault(name, []).append(self.now)
        if name in self.processes:
            self._work(name, host)
        elif name in self.queues:
            self._take(name, host)

    def _take(self, name: str, host: Host) -> None:
        if not self.queues[name]:
            return
        queue = [self.histories[each][-1][1] for each in self.queues[name]]
        if any(run.state == "running" for run in queue):
            return  # the limit of the queue, also while that run's process is gone
        self.queues[name] = [run.id for run in queue if run.state == "waiting"]
        waiting = [run for run in queue if run.state == "waiting"]
        if waiting:
            self.processes[name] = waiting[0].id, self.now + host.seconds
            self.change(waiting[0], state="running", began=at(self.now), beat=at(self.now))

    def _work(self, name: str, host: Host) -> None:
        identity, end = self.processes[name]
        run = self.histories[identity][-1][1]
        ending = host.ending(run.attempt)
        if host.stopped and run.attempt == 1 and identity not in self.cancelling:
            self.cancelling[identity] = self.now
        if run.state != "running":  # crashed by the coordinator while it lives: the fact counts, if it comes
            if ending == "completed" and self.now >= end:
                self.change(run, state="completed", message="", ended=at(self.now))
            self.processes.pop(name) if self.now >= end else None
        elif identity in self.cancelling and self.now > self.cancelling[identity] + TICK:
            message = "cancelled by the worker" if self.random.random() < self.faults.lost else run.message
            self._end(name, run, "cancelled", message)
        elif ending == "dies" and self.now >= end - host.seconds // 2:
            host.off = (*host.off, (self.now, NEVER))
            self.processes.pop(name)
        elif self.now >= end:
            self._end(name, run, ending, "" if ending == "completed" else f"it {ending}")
        elif self.now % RUN_HEARTBEAT_SECONDS == 0:
            self.change(run, beat=at(self.now))

    def _end(self, name: str, run: Run, state: str, message: str) -> None:
        self.change(run, state=state, message=message, ended=at(self.now))
        self.processes.pop(name)

    # what the API offers

    def _request(self) -> None:
        if self.requests is not None:
            if self.requests == 0:
                raise KilledError
            self.requests -= 1

    def release(self, host: str, attempt: int) -> None:
        """Make a run, or two."""
        self._request()
        if self.faults.once and (host, attempt) in self.keys:
            return
        for _ in range(2 if self.random.random() < self.faults.double else 1):
            run = Run(f"run-{len(self.histories)}", host, attempt, "waiting", "", None, None, at(self.now))
            self.histories[run.id] = [(self.now, run)]
            self.keys[host, attempt] = run.id
            self.queues.setdefault(host, []).append(run.id)

    def cancel(self, identity: str, message: str) -> None:
        """Cancel a run; one that runs ends by itself, later."""
        self._request()
        run = self.histories[identity][-1][1]
        if run.state == "waiting":
            self.change(run, state="cancelled", message=message, ended=at(self.now))
        elif run.state == "running":
            self.cancelling.setdefault(identity, self.now)
            self.change(run, message=message)

    def crash(self, identity: str, message: str) -> None:
        """Set a run Crashed, if it has not ended."""
        self._request()
        run = self.histories[identity][-1][1]
        if run.state in LIVE:
            self.change(run, state="crashed", message=message, ended=at(self.now))

    def look(self) -> tuple[list[Run], dict[str, datetime | None]]:
        """Return what one look shows."""
        if not (self.faults.late or self.faults.twice):
            return self.runs, {name: at(beats[-1]) for name, beats in self.beats.items()}
        shown = []
        for history in self.histories.values():
            earlier = [run for time, run in history if time <= self.now - self.random.randrange(self.faults.lag)]
            if self.random.random() < self.faults.late:
                shown += earlier[-1:]
            else:
                shown.append(history[-1][1])
                shown += earlier[-1:] if self.random.random() < self.faults.twice else []
        self.random.shuffle(shown)
        return shown, dict(self._late_beats())

    def _late_beats(self) -> Iterator[tuple[str, datetime]]:
        for name, beats in self.beats.items():
            late = self.random.random() < self.faults.late
            until = self.now - (self.random.randrange(self.faults.lag) if late else 0)
            yield name, at(max((beat for beat in beats[-20:] if beat <= until), default=beats[0]))

    def act(self, judgement: Judgement) -> None:
        """Do what a judgement says."""
        for identity, message in judgement.crash:
            self.crash(identity, message)
        for identity, message in judgement.cancel:
            self.cancel(identity, message)
        for host, attempt in judgement.release:
            self.release(host, attempt)


@dataclass
class Result:
    """What a rollout came to.

    Attributes:
        ends: verdicts on each wave at the moment when it was over.
        begins: (wave, verdicts until then) at each moment at which a wave began.
    """

    verdicts: tuple[HostVerdict, ...] = ()
    stop: Stop | None = None
    ends: dict[int, tuple[HostVerdict, ...]] = field(default_factory=dict)
    begins: list[tuple[int, tuple[HostVerdict, ...]]] = field(default_factory=list)


def coordinate(world: World, rollout: Rollout, rules: Rules, result: Result, hold: int = 0) -> None:
    """Do what the flow does, from the beginning or from where a killed one was: it knows nothing but the world."""
    names = list(rules.first or world.hosts)
    planned = waves(names, rollout)
    last = begun(planned, world.look()[0], rules)
    verdicts: tuple[HostVerdict, ...] = ()
    for wave in planned:
        if wave.number > max(last, 1):
            world.advance(hold)
            result.begins.append((wave.number, verdicts))
        result.ends[wave.number] = _finished(world, wave, rules, closed=wave.number < last)
        verdicts += result.ends[wave.number]
        result.stop = stop_after(verdicts, names, rollout)
        if result.stop:
            break
    rest = set(names) - {each.host for each in verdicts}
    result.verdicts = (*verdicts, *skip([name for name in names if name in rest], "the rollout stopped before"))


def _finished(world: World, wave: Wave, rules: Rules, *, closed: bool) -> tuple[HostVerdict, ...]:
    """Bring a wave to its end."""
    while True:
        runs, beats = world.look()
        judgement = judge(wave, runs, beats, at(world.now), rules, closed=closed)
        world.act(judgement)
        if judgement.over:
            return judgement.verdicts
        world.advance(TICK)


def rolled_out(world: World, rollout: Rollout, rules: Rules, hold: int = 0) -> Result:
    """Run the coordinator, and again each time it is killed, until it has ended by itself."""
    result = Result()
    for requests in [*world.faults.kills, None]:
        world.requests = requests
        try:
            coordinate(world, rollout, rules, result, hold)
        except KilledError:
            world.advance(world.faults.downtime)
        else:
            break
    return result
