"""A coordinator's run: what is to be applied where, the waves one after another, and what is said of them at the end.

    file, lock, hold ─▶ plan ─▶ waves, a hold between each ─▶ result

A run that was suspended, or started again after its death, comes here again from the top, and finds by its rollout's
tag what has happened: waves that are over end at the first look.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed

from config.home import fleet_file
from flows.forms.results import End, RolledOut
from flows.rollout import generations, identity, runs, workers
from flows.rollout.applied import Applied, applied
from flows.rollout.approving import approve
from flows.rollout.inventory import read_hosts
from flows.rollout.orders import Orders
from flows.rollout.reports import read_reports
from flows.rollout.showing import Showing
from flows.rollout.watching import Watch
from prestow.cancellation import pause
from prestow.errors import NotFoundError, PreconditionError, PrestowError
from prestow.fleet.document import read
from prestow.fleet.file import FleetFile, Host, ImageSet
from prestow.fleet.plan import Plan, plan
from prestow.fleet.report import Report
from prestow.fleet.retry import failed_before
from prestow.fleet.rollout import Rules, begun
from prestow.fleet.schedule import delay, missed
from prestow.fleet.select import choose_set, select
from prestow.fleet.verdict import HostVerdict, Verdict, skip, stop_after
from prestow.fleet.waves import Wave, waves

_DEPLOYMENT = "prepull/prepull"
_NAMES: Mapping[End, str] = {
    "incomplete": "Incomplete",
    "nothing-to-do": "NothingToDo",
    "missed-window": "MissedWindow",
}


class RolloutError(PrestowError):
    """A rollout stopped because its failure budget was used up. ``result`` tells of each host."""

    def __init__(self, result: RolledOut) -> None:
        """Keep the result."""
        super().__init__(f"{result.image_set} · generation {result.generation}: {result.reason}")
        self.result = result


class Coordinator:
    """One rollout, from its plan to its result.

    Attributes:
        watch: what is seen of its hosts; the step ``wave`` runs by it.
    """

    watch: Watch
    _leave_out: Callable[[frozenset[str]], None]

    def __init__(self, name: str, image_set: ImageSet, applied: Applied) -> None:
        """Take what is to be applied."""
        self._name, self._set, self._applied = name, image_set, applied
        self._locked = applied.locked
        self._showing: Showing | None = None
        self._waves: tuple[Wave, ...] = ()
        self._verdicts: list[HostVerdict] = []
        self._without: frozenset[str] = frozenset()
        self._stopped = ""
        self._end: End | None = None
        self._reason = ""
        self._rollout = ""

    def miss(self, reason: str) -> None:
        """End without having done anything, because it is too late."""
        self._end, self._reason = "missed-window", reason

    def begin(self, client: SyncPrefectClient, own: FlowRun, hosts: Sequence[Host], *, again: bool) -> None:
        """Plan the rollout, and make ready for its waves; without anything to do there are none."""
        name, locked = self._name, self._locked
        generations.publish(client, name, locked)
        now = datetime.now(UTC)
        found = read_reports(client, hosts, now)
        for warning in found.warnings:
            get_run_logger().warning("%s", warning)
        reports = found.of
        planned = plan(name, self._set, locked, hosts, reports, now, None)
        known = identity.identify(client, own, name, locked.generation, again=again)
        self._rollout, self._without = known.rollout, known.without
        self._leave_out = partial(identity.leave_out, client, own)
        _end_older(client, name, known.rollout)
        self._showing = Showing(client, own.id, name, locked, hosts, planned, self._applied.hold, self._set.hand_over)
        if planned.is_nothing_to_do and not (known.resumed or again):
            self._end, self._reason = "nothing-to-do", f"all {len(hosts)} hosts had all images"
            self._verdicts = [HostVerdict(host.name, Verdict.DONE, "all images were there", 0, None) for host in hosts]
            self._showing.publish((), self._verdicts, urgent=True)
            return
        names = [host.name for host in hosts]
        self._waves = waves(names, self._set.rollout)
        self.watch = watch = self._watched(client, planned, hosts, reports)
        watch.look(client)
        if again:
            before = failed_before(self._waves, watch.runs, watch.beats, own.created or now, watch.rules)
            failed = {name: attempt for name, attempt in before.items() if name not in watch.ready}
            self._waves = waves([name for name in names if name in failed], self._set.rollout)
            watch.rules = Rules.of(self._set.rollout, hosts, failed)
        watch.last = begun(self._waves, watch.runs, watch.rules)

    def _watched(
        self, client: SyncPrefectClient, planned: Plan, hosts: Sequence[Host], reports: Mapping[str, Report]
    ) -> Watch:
        try:
            deployment = client.read_deployment_by_name(_DEPLOYMENT).id
        except ObjectNotFound as error:
            raise NotFoundError(f"there is no deployment {_DEPLOYMENT}; make it with `prestow deploy`") from error
        disks = {name: report.disk_bytes for name, report in reports.items()}
        return Watch(
            rollout=self._rollout,
            orders=Orders(
                self._name,
                self._set,
                self._locked,
                self._rollout,
                deployment,
                {host.name: host for host in hosts},
                disks,
            ),
            rules=Rules.of(self._set.rollout, hosts),
            ready=frozenset(each.host for each in planned.hosts if each.state == "ready"),
            refused={each.host: each.reason for each in planned.hosts if each.state == "refused"},
            shown=self._show,
        )

    def waves(self) -> Iterator[Wave]:
        """Yield one wave after another, each when it may begin."""
        for wave in self._waves:
            if self._stopped:
                self._verdicts += skip(wave.hosts, "the rollout stopped before its wave")
                continue
            asked = self._asked(wave)
            self._verdicts += skip([host for host in wave.hosts if host not in asked.hosts], "left out by a person")
            if asked.hosts:
                yield asked
            if self.watch.last <= wave.number < wave.of:
                self._hold(wave)

    def _asked(self, wave: Wave) -> Wave:
        """Return a wave without the hosts that a person left out."""
        return Wave(wave.number, wave.of, tuple(host for host in wave.hosts if host not in self._without))

    def judged(self, wave: Wave, verdicts: Sequence[HostVerdict]) -> None:
        """Take the verdicts on a wave."""
        self._verdicts += verdicts
        hosts = [host for each in self._waves for host in each.hosts]
        stop = stop_after(self._verdicts, hosts, self._set.rollout)
        if stop is not None and wave.number < wave.of:
            self._stopped = stop.reason

    def _hold(self, wave: Wave) -> None:
        """Wait between two waves as the set asks for; not if the next one does not begin."""
        hold = "none" if self._stopped else self._set.rollout.hold
        verdicts = [each for each in self._verdicts if each.host in wave.hosts]
        if hold == "approve":
            following = self._asked(self._waves[wave.number])
            if without := approve(self._rollout, wave, following, verdicts):
                self._leave_out(without)
                self._without |= without
        elif hold != "none":
            pause(float(hold))

    def _show(self, wave: Wave, verdicts: Sequence[HostVerdict]) -> None:
        """Show how the wave gets on."""
        if self._showing is not None:
            changed = self._showing.say(wave, verdicts)
            ends = changed and len(verdicts) == len(wave.hosts)
            self._showing.publish(self._waves, [*self._verdicts, *verdicts], self.watch.runs, urgent=ends)

    def result(self) -> RolledOut:
        """Return what came of it; as a state with a name of its own where not all is well, or nothing was to be done.

        Raises:
            RolloutError: the failure budget was used up.
        """
        lacking = [host for host in self._verdicts if host.verdict is not Verdict.DONE]
        reason = self._reason or self._stopped or _sentence(self._verdicts, lacking)
        end: End = self._end or ("stopped" if self._stopped else "incomplete" if lacking else "complete")
        if self._showing is not None and self._waves:
            self._showing.publish(self._waves, self._verdicts, self.watch.runs, urgent=True)
        found = RolledOut(
            self._name,
            self._locked.generation,
            self._rollout,
            end,
            tuple(self._verdicts),
            self._applied.held_back,
            reason,
        )
        if end == "stopped":
            raise RolloutError(found)
        if end in _NAMES:
            return cast("RolledOut", Completed(name=_NAMES[end], message=reason, data=found))
        return found


@contextmanager
def coordinating(file: str | None, image_set: str | None, *, again: bool) -> Iterator[Coordinator]:
    """Read what is to be applied, and yield the coordinator of its rollout.

    Raises:
        PrestowError: the file, its lock or its hosts are wrong; or another rollout of the set is in progress.
    """
    own = _own_run()
    path = Path(file or fleet_file())
    document = read(path, FleetFile)
    name = choose_set(document, image_set)
    chosen = document.sets[name]
    with get_client(sync_client=True) as client:
        now = applied(client, path, name, chosen)
        found = Coordinator(name, chosen, now)
        if own.auto_scheduled and own.expected_start_time and chosen.schedule:
            due: datetime = own.expected_start_time
            if missed(chosen.schedule, due, datetime.now(UTC)):
                found.miss(f"its window ended before it began: it was due at {due:%Y-%m-%d %H:%M}")
                yield found
                return
            pause(delay(chosen.schedule, name, due))
        hosts = select(name, chosen.hosts, read_hosts(path, document, lambda: sorted(workers.names())))
        if now.held_back is not None:
            note = "generation %d of %s is held back by a rollback to %d"
            get_run_logger().warning(note, now.held_back, name, now.locked.generation)
        found.begin(client, own, hosts, again=again)
        yield found


def _own_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise PreconditionError("a rollout is a flow run: call the flow itself, not its function")
    return context.flow_run


def _end_older(client: SyncPrefectClient, name: str, rollout: str) -> None:
    """Cancel what earlier rollouts of the set left in queues."""
    older = runs.unfinished_before(client, name, rollout)
    runs.cancel(client, [(run.id, "a newer rollout of the image set has begun") for run in older])


def _sentence(verdicts: Sequence[HostVerdict], lacking: Sequence[HostVerdict]) -> str:
    if not lacking:
        return f"all {len(verdicts)} hosts have all images"
    return f"{len(verdicts) - len(lacking)} of {len(verdicts)} hosts have all images"
