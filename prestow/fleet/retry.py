"""Which hosts a second pass over a rollout asks again."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from prestow.fleet.rollout import Rules, Run, begun, judge
from prestow.fleet.verdict import retry_failed
from prestow.fleet.waves import Wave


def failed_before(
    waves: Sequence[Wave],
    runs: Iterable[Run],
    beats: Mapping[str, datetime | None],
    since: datetime,
    rules: Rules,
) -> dict[str, int]:
    """Return the hosts that did not get the images before a moment, and the number of the next attempt at each.

    Hosts whose wave had not begun then are left out. The moment is when the second pass was made, so that its
    coordinator, killed and started again, finds the same hosts and numbers among the runs that it has made since.

    Args:
        waves: of the first pass.
        runs: all runs of the rollout, those of the second pass included.
        beats: last heartbeat of the worker of each host.
        since: when the second pass was made.
        rules: of the first pass.
    """
    earlier = [run for run in runs if run.created < since]
    last = begun(waves, earlier, rules)
    judged = [judge(wave, earlier, beats, since, rules, closed=True) for wave in waves if wave.number <= last]
    return retry_failed(verdict for judgement in judged for verdict in judgement.verdicts)
