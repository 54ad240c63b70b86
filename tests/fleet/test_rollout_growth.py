"""A rollout of 5,000 hosts: its laws, what a look costs, and that nothing of it stays. Calls are counted, not times."""

import gc
import sys
import tracemalloc
from random import Random

from prestow.fleet.file import Rollout
from prestow.fleet.quantities import Share
from prestow.fleet.rollout import Rules, judge
from prestow.fleet.verdict import ABSENCES, FAILURES, Verdict
from prestow.fleet.waves import Wave
from tests.fleet.world import NEVER, Faults, Host, World, at, rolled_out

ROLLOUT = Rollout(
    seed=Share(1, percent=False),
    waves=(Share(5, percent=True), Share(30, percent=True)),
    max_failed=Share(3, percent=True),
    timeout=600.0,
)
RULES = Rules.of(ROLLOUT, [])


def fleet(hosts: int, random: Random) -> dict[str, Host]:
    """Return hosts of which one in ten has a fault."""
    faulty = [
        lambda: Host(("failed",)), lambda: Host(("crashed", "completed")), lambda: Host(("refused",)),
        lambda: Host(("dies",)), lambda: Host(seconds=NEVER), lambda: Host(known=False),
        lambda: Host(off=((0, NEVER),)), lambda: Host(off=((60, 400),), seconds=120), lambda: Host(stopped=True),
    ]  # fmt: skip
    return {
        f"gpu-{number:04}": random.choice(faulty)() if random.random() < 0.1 else Host(seconds=random.choice([30, 90]))
        for number in range(hosts)
    }


def midway(hosts: int) -> World:
    """Return a world in the middle of a rollout, with runs in all states."""
    world = World(fleet(hosts, Random(1)), Faults(), Random(1))
    for _ in range(8):
        runs, beats = world.look()
        world.act(judge(Wave(1, 1, tuple(world.hosts)), runs, beats, at(world.now), RULES))
        world.advance(30)
    return world


def calls(hosts: int) -> int:
    """Return how many functions, Python's included, one look calls."""
    world = midway(hosts)
    runs, beats = world.look()
    counted = 0

    def called(frame: object, event: str, arg: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        judge(Wave(1, 1, tuple(world.hosts)), runs, beats, at(world.now), RULES)
    finally:
        sys.setprofile(before)
    return counted


def test_a_rollout_of_5000_hosts_keeps_its_laws_though_the_coordinator_is_killed() -> None:
    world = World(fleet(5000, Random(7)), Faults(kills=[0, 100, 700, 2000], downtime=60), Random(7))

    result = rolled_out(world, ROLLOUT, RULES)

    assert result.stop is None
    assert [each.host for each in result.verdicts] == list(world.hosts)
    assert {each.verdict for each in result.verdicts} == set(Verdict)
    assert all(run.attempt <= 2 for run in world.runs)
    assert len({(run.host, run.attempt) for run in world.runs}) == len(world.runs)
    assert [number for number, _ in result.begins][-1] == 4
    for _, before in result.begins:
        assert sum(each.verdict in FAILURES for each in before) <= 150
        assert sum(each.verdict in ABSENCES for each in before) <= 2500


def test_a_look_at_ten_times_as_many_hosts_costs_ten_times_as_much() -> None:
    small, large = calls(500), calls(5000)

    assert large / 5000 <= 1.5 * small / 500
    assert large / 5000 <= 60, "calls for each host"


def test_nothing_stays_of_a_look() -> None:
    world = midway(100)
    runs, beats = world.look()
    wave = Wave(1, 1, tuple(world.hosts))

    def after(looks: int) -> int:
        for _ in range(looks):
            judge(wave, runs, beats, at(world.now), RULES)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = after(50)
        assert after(100) - first < 65536, "bytes; a single object of each host and look would be 500,000"
    finally:
        tracemalloc.stop()
