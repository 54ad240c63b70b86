"""Laws of whole rollouts, in worlds in which hosts fail, die, return and dawdle, and the coordinator is killed."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.fleet.file import Rollout
from prestow.fleet.quantities import Share
from prestow.fleet.rollout import Rules, judge
from prestow.fleet.verdict import ABSENCES, FAILURES, HostVerdict, Verdict, retry_failed, stop_after
from prestow.fleet.waves import waves
from tests.fleet.world import LIVE, NEVER, Ending, Faults, Host, Result, World, at, rolled_out

TIMEOUT = 600
ENDINGS: list[Ending] = ["completed", "completed", "failed", "crashed", "refused"]
LAWS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

STEADY = st.one_of(  # what comes of these does not depend on when a coordinator looks
    st.builds(Host, st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=4).map(tuple), st.sampled_from([30, 300])),
    st.builds(Host, seconds=st.just(NEVER)),
    st.builds(Host, st.just(("failed", "dies"))),
    st.builds(Host, st.just(("dies",))),
    st.builds(Host, off=st.just(((0, NEVER),))),
    st.builds(Host, known=st.just(value=False)),
    st.builds(Host, stopped=st.just(value=True)),
)
RESTLESS = st.builds(
    Host,
    st.lists(st.sampled_from([*ENDINGS, "dies"]), min_size=1, max_size=4).map(tuple),
    st.sampled_from([30, 300, TIMEOUT, TIMEOUT + 60]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 1500)).map(lambda two: (two[0], sum(two))), max_size=3).map(
        tuple
    ),
    st.sampled_from([True, True, False]),
    st.sampled_from([False, False, True]),
)
COUNTS = st.integers(0, 12).map(lambda number: Share(number, percent=False))
ROLLOUTS = st.builds(
    Rollout,
    seed=st.none() | COUNTS,
    waves=st.lists(COUNTS, max_size=3).map(tuple),
    max_failed=COUNTS,
    max_offline=COUNTS,
    timeout=st.just(float(TIMEOUT)),
    retries=st.integers(0, 2),
)
KILLS = st.lists(st.integers(0, 8), max_size=12)
SEEDS = st.integers(0, 2**32)


def fleet(of: st.SearchStrategy[Host], most: int = 10) -> st.SearchStrategy[dict[str, Host]]:
    return st.lists(of, min_size=1, max_size=most).map(lambda hosts: {f"gpu-{n}": host for n, host in enumerate(hosts)})


def kinds(verdicts: Iterable[HostVerdict]) -> dict[str, Verdict]:
    return {each.host: each.verdict for each in verdicts}


def expected(host: Host, retries: int) -> Verdict:
    """Return what must come of a steady host."""
    if not host.known or not host.is_on(0):
        return Verdict.OFFLINE
    if host.stopped:
        return Verdict.SKIPPED
    if host.seconds > TIMEOUT:
        return Verdict.SLOW
    for attempt in range(1, retries + 2):
        ending = host.ending(attempt)
        if ending in {"completed", "refused", "dies"}:
            return {"completed": Verdict.DONE, "refused": Verdict.REFUSED, "dies": Verdict.OFFLINE}[ending]
    return Verdict.FAILED


@LAWS
@given(fleet(STEADY), ROLLOUTS, KILLS, st.integers(0, 1200), SEEDS)
def test_a_killed_coordinator_comes_to_the_verdicts_that_follow_from_the_hosts(
    hosts: dict[str, Host], rollout: Rollout, kills: list[int], downtime: int, seed: int
) -> None:
    names = list(hosts)
    right = {name: expected(host, rollout.retries) for name, host in hosts.items()}
    reached: list[str] = []
    for wave in waves(names, rollout):
        reached += wave.hosts
        if stop_after([HostVerdict(name, right[name], "", 1, None) for name in reached], names, rollout):
            break
    world = World(hosts, Faults(kills=kills, downtime=downtime, once=False), Random(seed))

    result = rolled_out(world, rollout, Rules.of(rollout, []))

    assert kinds(result.verdicts) == {name: right[name] if name in reached else Verdict.SKIPPED for name in names}
    asked = Counter((run.host, run.attempt) for run in world.runs)
    assert set(asked.values()) <= {1}, "though the API would have made two"
    assert {host for host, _ in asked} <= set(reached)


def check(world: World, result: Result, rollout: Rollout, rules: Rules) -> None:
    """Check what holds in every world."""
    names = list(rules.first or world.hosts)
    planned = waves(names, rollout)
    assert sorted(each.host for each in result.verdicts) == sorted(names), "each host has exactly one verdict"
    for run in world.runs:
        assert run.attempt <= rules.first.get(run.host, 1) + rollout.retries
    for number, before in result.begins:
        assert [each.host for each in before] == [host for wave in planned[: number - 1] for host in wave.hosts]
        failed, away = (sum(each.verdict in some for each in before) for some in (FAILURES, ABSENCES))
        assert failed <= rollout.max_failed.of(len(names))
        assert away <= rollout.max_offline.of(len(names))
    largest = max(len(wave.hosts) for wave in planned)
    assert sum(each.verdict in FAILURES for each in result.verdicts) <= rollout.max_failed.of(len(names)) + largest
    for one, other in pairwise(planned):
        first = min((run.created for run in world.runs if run.host in other.hosts), default=None)
        assert first is None or all(run.created <= first for run in world.runs if run.host in one.hosts)


@LAWS
@given(fleet(RESTLESS), ROLLOUTS, KILLS, st.integers(0, 600), st.integers(0, 600), SEEDS)
def test_waves_budgets_and_attempts_hold_whatever_hosts_do(
    hosts: dict[str, Host], rollout: Rollout, kills: list[int], downtime: int, hold: int, seed: int
) -> None:
    world = World(hosts, Faults(kills=kills, downtime=downtime, once=False), Random(seed))
    rules = Rules.of(rollout, [])

    result = rolled_out(world, rollout, rules, hold)

    check(world, result, rollout, rules)
    assert set(Counter((run.host, run.attempt) for run in world.runs).values()) <= {1}
    assert all(run.state not in LIVE or run.mark for run in world.runs), "no run is left behind"


@LAWS
@given(fleet(RESTLESS), ROLLOUTS, KILLS, st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 0.5), SEEDS)
def test_every_host_gets_one_verdict_though_looks_are_late_doubled_incomplete_and_in_any_order(
    hosts: dict[str, Host], rollout: Rollout, kills: list[int], late: float, twice: float, double: float, seed: int
) -> None:
    faults = Faults(late=late, lag=150, twice=twice, double=double, lost=double, kills=kills, downtime=60)
    world = World(hosts, faults, Random(seed))
    rules = Rules.of(rollout, [])

    result = rolled_out(world, rollout, rules)

    assert sorted(each.host for each in result.verdicts) == sorted(hosts)
    assert all(run.attempt <= rollout.retries + 1 for run in world.runs)
    for _, before in result.begins:
        assert stop_after(before, list(hosts), rollout) is None


@LAWS
@given(fleet(RESTLESS), ROLLOUTS, KILLS, st.integers(0, 900), SEEDS)
def test_a_verdict_stays_when_its_wave_is_over_unless_the_host_completes_after_all(
    hosts: dict[str, Host], rollout: Rollout, kills: list[int], hold: int, seed: int
) -> None:
    world = World(hosts, Faults(kills=kills), Random(seed))
    rules = Rules.of(rollout, [])
    result = rolled_out(world, rollout, rules, hold)
    world.advance(3600)

    for wave in waves(list(hosts), rollout):
        if wave.number in result.ends:
            runs, beats = world.look()
            later = judge(wave, runs, beats, at(world.now), rules, closed=True)
            before, after = kinds(result.ends[wave.number]), kinds(later.verdicts)
            assert later.release == ()
            assert {host for host in wave.hosts if after[host] not in {before[host], Verdict.DONE}} == set()


@LAWS
@given(fleet(STEADY.filter(lambda host: not host.stopped)), KILLS, SEEDS)
def test_all_hosts_are_finished_by_asking_again_when_they_can_be(
    hosts: dict[str, Host], kills: list[int], seed: int
) -> None:
    rollout = Rollout(timeout=float(TIMEOUT), max_failed=Share(100, percent=True), max_offline=Share(100, percent=True))
    world = World(hosts, Faults(kills=kills), Random(seed))
    first = rolled_out(world, rollout, Rules.of(rollout, []))
    for host in hosts.values():
        host.endings, host.seconds, host.known, host.off = ("completed",), 60, True, ()
    world.advance(900)
    again = retry_failed(first.verdicts)
    rules = Rules.of(rollout, [], again)

    second = rolled_out(world, rollout, rules) if again else Result()

    check(world, second, rollout, rules) if again else None
    assert again.keys() == {host for host, kind in kinds(first.verdicts).items() if kind != Verdict.DONE}
    assert kinds(second.verdicts) == dict.fromkeys(again, Verdict.DONE)
    assert all(run.attempt >= again.get(run.host, 1) for run in world.runs if run.state == "completed")


@pytest.mark.parametrize("host", [Host(off=((0, NEVER),)), Host(("dies",)), Host(known=False)], ids=str)
def test_offline_hosts_never_use_up_the_failure_budget(host: Host) -> None:
    rollout = Rollout(waves=(Share(1, percent=False),), max_failed=Share(0, percent=False))
    hosts = {"gpu-0": host, **{f"gpu-{number}": Host() for number in range(1, 4)}}

    result = rolled_out(World(hosts, Faults(), Random(0)), rollout, Rules.of(rollout, []))

    assert kinds(result.verdicts) == {name: "offline" if name == "gpu-0" else "done" for name in hosts}
