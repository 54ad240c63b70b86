"""A second pass over a rollout asks the same hosts again, also when its coordinator is killed."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.fleet.file import Rollout
from prestow.fleet.quantities import Share
from prestow.fleet.retry import failed_before
from prestow.fleet.rollout import Rules
from prestow.fleet.waves import waves
from tests.fleet.world import Faults, Host, KilledError, Result, World, at, coordinate, rolled_out

ALL = Share(100, percent=True)
FIRST = st.sampled_from([("failed",), ("failed", "failed", "completed"), ("refused",), ("crashed",), ("completed",)])


@settings(deadline=None, max_examples=60)
@given(st.lists(FIRST, min_size=1, max_size=8), st.lists(st.integers(0, 5), max_size=8), st.integers(0, 99))
def test_a_killed_second_pass_finds_the_hosts_of_the_first_again(
    endings: list[tuple[str, ...]], kills: list[int], downtime: int
) -> None:
    rollout = Rollout(seed=Share(1, percent=False), max_failed=ALL, timeout=600.0, retries=1)
    world = World({f"gpu-{n}": Host(each) for n, each in enumerate(endings)}, Faults(), Random(0))  # type: ignore[arg-type]
    first_rules, planned = Rules.of(rollout, []), waves(list(world.hosts), rollout)
    first = rolled_out(world, rollout, first_rules)
    world.advance(60)
    since, second = world.now, Result()
    lacking = {each.host: each.attempts + 1 for each in first.verdicts if each.verdict != "done"}

    for world.requests in [*kills, None]:
        again = failed_before(planned, *world.look(), at(since), first_rules)
        assert again == lacking
        if not again:
            return
        try:
            coordinate(world, rollout, Rules.of(rollout, [], again), second)
        except KilledError:
            world.advance(downtime)
        else:
            break

    assert {each.host for each in second.verdicts} == lacking.keys()
    assert all(run.attempt < lacking.get(run.host, 3) + 2 for run in world.runs)


def test_hosts_whose_wave_never_began_are_not_asked_again() -> None:
    rollout = Rollout(seed=Share(1, percent=False), max_failed=Share(0, percent=False), retries=0)
    world = World({"gpu-1": Host(("failed",)), "gpu-2": Host()}, Faults(), Random(0))
    rules, planned = Rules.of(rollout, []), waves(list(world.hosts), rollout)

    result = rolled_out(world, rollout, rules)
    world.advance(60)

    assert [each.verdict for each in result.verdicts] == ["failed", "skipped"]
    assert failed_before(planned, *world.look(), at(world.now), rules) == {"gpu-1": 2}
