"""How a rollout gets on: a line in the run's log and on the terminal, and the page of its set in the UI."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.logging import get_run_logger

from flows.forms.fleet_page import Progress, fleet_page
from flows.rollout.page import SetPage
from flows.rollout.reports import read_reports
from prestow.fleet.file import HandOver, Host
from prestow.fleet.hold import Hold
from prestow.fleet.lock import LockedSet
from prestow.fleet.plan import Plan
from prestow.fleet.rollout import Run
from prestow.fleet.status import status
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave
from tasks.journal import note_said


class Showing:
    """What is shown of one rollout."""

    def __init__(
        self,
        client: SyncPrefectClient,
        run: UUID,
        name: str,
        locked: LockedSet,
        hosts: Sequence[Host],
        planned: Plan,
        hold: Hold | None,
        hand_over: HandOver,
    ) -> None:
        """Show the rollout of the coordinator's ``run``, of the set ``name``."""
        self._client, self._name, self._locked, self._hosts, self._hold = client, name, locked, hosts, hold
        self._page = SetPage(client, name, run)
        self._fetched = {each.host: each.fetch_bytes for each in planned.hosts}
        self._said, self._hand_over = "", hand_over

    def say(self, wave: Wave, verdicts: Sequence[HostVerdict]) -> bool:
        """Say how a wave gets on, if that has changed; return whether it has."""
        counts = Counter(str(each.verdict) for each in verdicts)
        text = f"wave {wave.number} of {wave.of}: {len(verdicts)} of {len(wave.hosts)} hosts decided"
        text += f" ({', '.join(f'{count} {verdict}' for verdict, count in sorted(counts.items()))})" if counts else ""
        if text == self._said:
            return False
        self._said = text
        note_said(text)
        get_run_logger().info("%s", text)
        return True

    def publish(
        self, waves: Sequence[Wave], verdicts: Sequence[HostVerdict], runs: Iterable[Run] = (), *, urgent: bool
    ) -> None:
        """Bring the page of the set up to date, if it is time for that, or urgent."""

        def text() -> str:
            now = datetime.now(UTC)
            reports = read_reports(self._client, self._hosts, now).of
            found = status(self._name, self._locked, self._hosts, reports, now, self._hold, self._hand_over)
            done = {each.host for each in verdicts if each.verdict is Verdict.DONE and each.attempts}
            fetched = {host: count for host, count in self._fetched.items() if host in done}
            return fleet_page(found, Progress(waves, verdicts, fetched, _took(waves, runs, now)))

        self._page.publish(text, urgent=urgent)


def _took(waves: Sequence[Wave], runs: Iterable[Run], now: datetime) -> Mapping[int, float]:
    """Return the seconds of each wave that has a run: from its first run to the end of its last one."""
    where = {host: wave.number for wave in waves for host in wave.hosts}
    times: dict[int, tuple[datetime, datetime]] = {}
    for run in runs:
        if (number := where.get(run.host)) is not None:
            begin, end = times.get(number, (run.created, run.created))
            times[number] = min(begin, run.created), max(end, run.ended or now)
    return {number: (end - begin).total_seconds() for number, (begin, end) in times.items()}
