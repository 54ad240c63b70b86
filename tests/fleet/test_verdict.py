"""Which verdicts stop a rollout, and which hosts are asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.fleet.file import Rollout
from prestow.fleet.verdict import HostVerdict, Stop, Verdict, retry_failed, skip, stop_after

HOSTS = [f"gpu-{number}" for number in range(20)]
VERDICTS = st.lists(st.sampled_from(Verdict), max_size=20)


def verdicts(*kinds: Verdict) -> list[HostVerdict]:
    return [HostVerdict(host, kind, "", 1, None) for host, kind in zip(HOSTS, kinds, strict=False)]


def stopped(kinds: list[Verdict], **rollout: object) -> Stop | None:
    return stop_after(verdicts(*kinds), HOSTS, Rollout.model_validate(rollout))


def test_more_failed_hosts_than_the_budget_stop_the_rollout_and_as_many_do_not() -> None:
    assert stopped([Verdict.FAILED] * 2, max_failed="10%") is None
    assert stopped([Verdict.FAILED] * 3, max_failed="10%") == Stop(
        "3 of 20 hosts failed or were refused; max_failed: 10% allows 2"
    )


def test_a_refused_host_counts_as_failed() -> None:
    assert stopped([Verdict.FAILED, Verdict.REFUSED], max_failed=1) is not None


def test_offline_and_slow_hosts_have_a_bound_of_their_own() -> None:
    assert stopped([Verdict.OFFLINE] * 9 + [Verdict.SLOW], max_failed=0) is None
    assert stopped([Verdict.OFFLINE] * 10 + [Verdict.SLOW], max_failed=0) == Stop(
        "11 of 20 hosts are offline or slow; max_offline: 50% allows 10"
    )


@given(VERDICTS, st.integers(0, 20), st.integers(0, 20))
def test_no_other_verdict_has_a_part_in_it(kinds: list[Verdict], failed: int, offline: int) -> None:
    bad = sum(kind in {"failed", "refused"} for kind in kinds)
    away = sum(kind in {"offline", "slow"} for kind in kinds)

    assert (stopped(kinds, max_failed=failed, max_offline=offline) is None) == (bad <= failed and away <= offline)


@pytest.mark.parametrize("kind", Verdict)
def test_hosts_without_the_images_are_asked_again_but_for_skipped_ones(kind: Verdict) -> None:
    again = retry_failed([HostVerdict("gpu-1", kind, "", 2, None)])

    assert again == ({} if kind in {Verdict.DONE, Verdict.SKIPPED} else {"gpu-1": 3})


def test_hosts_whose_wave_never_began_are_skipped_with_the_reason() -> None:
    assert skip(["gpu-7"], "the rollout stopped") == (
        HostVerdict("gpu-7", Verdict.SKIPPED, "the rollout stopped", 0, None),
    )
