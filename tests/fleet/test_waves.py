"""Every host is in exactly one wave, in the order of the fleet file, and shares are of all hosts."""

from hypothesis import given
from hypothesis import strategies as st

from prestow.fleet.file import Rollout
from prestow.fleet.quantities import Share
from prestow.fleet.waves import waves

SHARES = st.builds(Share, st.integers(0, 40), st.just(value=False)) | st.builds(
    Share, st.integers(0, 100), st.just(value=True)
)
ROLLOUTS = st.builds(Rollout, seed=st.none() | SHARES, waves=st.lists(SHARES, max_size=6).map(tuple))
HOSTS = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=60)


def sizes(hosts: int, **rollout: object) -> list[int]:
    names = [f"gpu-{number}" for number in range(hosts)]
    return [len(wave.hosts) for wave in waves(names, Rollout.model_validate(rollout))]


def test_shares_count_the_hosts_of_the_waves_before() -> None:
    assert sizes(20, seed=1, waves=["10%", "50%"]) == [1, 1, 8, 10]


def test_the_last_wave_is_all_hosts_in_any_case() -> None:
    assert sizes(8, waves=[1, 2, 5]) == [1, 1, 3, 3]
    assert sizes(8, waves=[]) == [8]


def test_a_wave_that_would_have_no_host_is_left_out() -> None:
    assert sizes(3, seed=1, waves=["1%", 1, "0%", "100%", "100%"]) == [1, 2]
    assert sizes(10, waves=["50%", "10%"]) == [5, 5]
    assert sizes(10, seed="0%") == [10]
    assert sizes(0, seed=1) == []


def test_a_seed_larger_than_the_first_wave_stays_the_seed() -> None:
    assert sizes(10, seed=5, waves=[2, 7]) == [5, 2, 3]


def test_a_host_that_is_given_twice_counts_once() -> None:
    assert [wave.hosts for wave in waves(["b", "a", "b"], Rollout())] == [("b", "a")]


@given(HOSTS, ROLLOUTS)
def test_every_host_is_in_one_wave_and_the_order_stays(hosts: list[str], rollout: Rollout) -> None:
    found = waves(hosts, rollout)

    assert [host for wave in found for host in wave.hosts] == hosts
    assert all(wave.hosts for wave in found)
    assert [(wave.number, wave.of) for wave in found] == [(n, len(found)) for n in range(1, len(found) + 1)]
    assert waves(hosts, rollout) == found


@given(HOSTS.filter(bool), ROLLOUTS)
def test_after_each_wave_as_many_hosts_were_asked_as_a_share_says(hosts: list[str], rollout: Rollout) -> None:
    found = waves(hosts, rollout)
    asked = [sum(len(wave.hosts) for wave in found[:number]) for number in range(1, len(found) + 1)]

    assert set(asked) <= {share.of(len(hosts)) for share in [*rollout.waves, *filter(None, [rollout.seed])]} | {
        len(hosts)
    }
    if rollout.seed and rollout.seed.of(len(hosts)):
        assert asked[0] == rollout.seed.of(len(hosts))
