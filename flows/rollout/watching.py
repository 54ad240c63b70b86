"""Watching a rollout: what its runs and workers show, what the rules make of it, and what follows from that.

    look ─▶ judge ─▶ make, cancel and finish runs ─▶ wait (an event of a host ends it sooner) ─▶ look …

Nothing is kept that the API does not show, so a coordinator that was killed goes on where it was. While the API is away
there is nothing to see and nothing to do: the hosts go on by themselves.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from httpx import TransportError
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger

from flows.rollout import runs, tags, waking, workers
from flows.rollout.orders import Orders
from prestow.cancellation import pause
from prestow.fleet.polling import is_alive
from prestow.fleet.rollout import Judgement, Rules, Run, judge
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave

_SECONDS = 10.0  # between two looks at a small wave
_HOSTS_A_SECOND = 50  # a look at a larger one may cost more
_LONGEST = 30.0
_BETWEEN, _LOOKS = 0.25, 120  # for a task run that the server does not know yet
_SETTLE, _SETTLED = 0.05, 5.0  # seconds after an event for each host, and at most: one look sees a burst of them
_BEATS = 20.0  # between two looks at the workers: less than the time between two heartbeats of one
_FULL = 60.0  # between two looks at what has not ended
_UNBROKEN = timedelta(seconds=60)  # that a look may take, or be ago when a wave begins; else the API may have been away


@dataclass(slots=True)
class Watch:
    """A rollout as it is seen by one coordinator.

    Attributes:
        ready: hosts that lacked nothing when the rollout began.
        refused: hosts that are not asked, with the cause.
        shown: called after each look, with the verdicts of the wave so far.
        last: number of the last wave that had begun before this coordinator did; earlier ones make no runs any more.
        beats: last heartbeat of the worker of each host, at the last look.
    """

    rollout: str
    orders: Orders
    rules: Rules
    ready: frozenset[str]
    refused: Mapping[str, str]
    shown: Callable[[Wave, Sequence[HostVerdict]], None]
    last: int = 0
    beats: Mapping[str, datetime | None] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)
    _since: datetime | None = None
    _listened: float | None = None
    _over: datetime | None = None  # when the last look ended
    _away: bool = True  # whether the API may have been away since then
    _heard: datetime | None = None  # since when the API answers, as far as this coordinator knows
    _full: float | None = None

    def run(self, wave: Wave) -> Sequence[HostVerdict]:
        """Bring a wave to its end.

        Raises:
            CancelledError: the run is to end.
        """
        hosts = tuple(host for host in wave.hosts if host not in self.ready and host not in self.refused)
        asked = Wave(wave.number, wave.of, hosts)
        self._away |= self._over is None or datetime.now(UTC) - self._over > _UNBROKEN  # as after an approval
        patience = min(max(_SECONDS, len(hosts) / _HOSTS_A_SECOND), _LONGEST)
        with waking.listening([tags.of_rollout(self.rollout)], min(len(hosts) * _SETTLE, _SETTLED)) as alarm:
            while True:
                judgement = self._advanced(asked)
                if judgement is not None:
                    verdicts = [*self._known(wave), *judgement.verdicts]
                    self.shown(wave, verdicts)
                    if judgement.over:
                        return verdicts
                alarm.wait(patience)

    def _known(self, wave: Wave) -> Iterator[HostVerdict]:
        """Yield the verdicts on hosts that are not asked."""
        for host in wave.hosts:
            if host in self.ready:
                yield HostVerdict(host, Verdict.DONE, "all images were there", 0, None)
            elif host in self.refused:
                yield HostVerdict(host, Verdict.REFUSED, self.refused[host], 0, None)

    def _advanced(self, wave: Wave) -> Judgement | None:
        """Look once, and do what follows; None if the API is away, or has an error of its own."""
        try:
            with get_client(sync_client=True) as client:
                self.look(client)
                judgement = self.judged(wave, closed=wave.number < self.last)
                self._act(client, judgement)
        except TransportError as error:
            get_run_logger().warning("the Prefect API does not answer; the hosts continue; trying again: %s", error)
            self._away = True
            return None
        except PrefectHTTPStatusError as error:
            if error.response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            get_run_logger().warning("the Prefect API failed (%d); trying again", error.response.status_code)
            self._away = True
            return None
        return judgement

    def judged(self, wave: Wave, *, closed: bool) -> Judgement:
        """Judge a wave by what was seen at the last look."""
        return judge(
            wave, self._runs.values(), self.beats, datetime.now(UTC), self.rules, closed=closed, heard=self._heard
        )

    @property
    def runs(self) -> Sequence[Run]:
        """All runs of the rollout, as they were at the last look."""
        return tuple(self._runs.values())

    def look(self, client: SyncPrefectClient) -> None:
        """Learn what ended since the last look and, at times, what has not ended."""
        now, began = time.monotonic(), datetime.now(UTC)
        seen = list(runs.ended(client, self.rollout, self._since))
        if self._full is None or now - self._full >= _FULL:
            seen += runs.unfinished(client, self.rollout)
            self._full = now
        self._runs.update((run.id, run) for run in seen)
        self._since = began
        if self._listened is None or now - self._listened >= _BEATS:
            self.beats = {name: beat.at for name, beat in workers.beats().items()}
            self._listened = now
        self._runs.update((run.id, run) for run in runs.with_heartbeats(client, self._doubtful(began)))
        self._over = datetime.now(UTC)
        if self._away or self._over - began > _UNBROKEN:  # a request may have waited for the API
            self._heard, self._away = self._over, False

    def _doubtful(self, now: datetime) -> Iterator[Run]:
        """Yield the runs that may be dead: their worker is silent, or they run for longer than a few heartbeats."""
        for run in self._runs.values():
            if run.state == "running":
                silent = not is_alive(self.beats.get(run.host), self.rules.worker_interval, now)
                if silent or not is_alive(run.began, self.rules.run_interval, now):
                    yield run

    def _act(self, client: SyncPrefectClient, judgement: Judgement) -> None:
        runs.finish(client, judgement.crash)
        runs.cancel(client, judgement.cancel)
        if judgement.release:
            wanted = [self.orders.wanted(host, attempt) for host, attempt in judgement.release]
            runs.make(client, self.orders.deployment, wanted, _own_task(client))
        if judgement.release or judgement.cancel or judgement.crash:
            self._full = None  # look at what became of it


def _own_task(client: SyncPrefectClient) -> UUID | None:
    """Return the wave's task run as soon as the server knows it: it learns of it by an event; None if it does not."""
    context = TaskRunContext.get()
    if context is None:
        return None
    for _ in range(_LOOKS):
        try:
            return client.read_task_run(context.task_run.id).id
        except ObjectNotFound:
            pause(_BETWEEN)
    return None
