"""One look at one host: what is decided, and what is done about its runs."""

from dataclasses import replace
from datetime import datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.fleet.file import Host, Limits, Rollout
from prestow.fleet.rollout import Judgement, Rules, Run, RunState, begun, judge
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave
from tests.fleet.world import at

NOW = 10_000
WAVE = Wave(1, 1, ("gpu-1",))
RULES = Rules(timeout=1000, retries=1)
AWAY = {"gpu-1": at(NOW - 600)}
SILENT = "its worker has been silent since 2026-01-01 02:36:40 UTC"
ONLINE = {"gpu-1": at(NOW - 10)}


def run(state: RunState, attempt: int = 1, message: str = "", name: str = "a", **times: int | None) -> Run:
    """Return a run that was made, and began, 100 seconds ago."""
    began = times.get("began", None if state == "waiting" else NOW - 100)
    created = times.get("created") or began or NOW - 100
    beat, ended = times.get("beat"), times.get("ended")
    moments = (None if moment is None else at(moment) for moment in (began, ended, beat))
    return Run(name, "gpu-1", attempt, state, message, next(moments), next(moments), at(created), next(moments))


def look(
    *runs: Run,
    beats: dict[str, datetime | None] = ONLINE,
    rules: Rules = RULES,
    closed: bool = False,
    heard: int | None = None,
) -> Judgement:
    return judge(WAVE, runs, beats, at(NOW), rules, closed=closed, heard=None if heard is None else at(heard))


def only(judgement: Judgement) -> HostVerdict:
    [verdict] = judgement.verdicts
    return verdict


def test_a_host_without_a_run_gets_the_first_attempt() -> None:
    assert look() == Judgement((), (), (), (("gpu-1", 1),), over=False)


@pytest.mark.parametrize(
    ("beats", "cause"),
    [
        ({}, "no worker of this host was ever seen; run `prestow node up --name gpu-1` on it"),
        ({"gpu-1": None}, "its worker has been silent; run `prestow node up --name gpu-1` on it"),
        (AWAY, f"{SILENT}; run `prestow node up --name gpu-1` on it"),
    ],
    ids=["never seen", "without a heartbeat", "silent"],
)
def test_no_run_is_made_for_a_host_that_is_offline(beats: dict[str, datetime | None], cause: str) -> None:
    judgement = look(beats=beats)

    assert judgement == Judgement((HostVerdict("gpu-1", Verdict.OFFLINE, cause, 0, None),), (), (), (), over=True)


def test_silence_counts_from_when_the_api_answers_again() -> None:
    running = run("running", began=NOW - 900, beat=NOW - 800)

    assert look(beats=AWAY, heard=NOW - 105).release == (("gpu-1", 1),)
    assert only(look(beats=AWAY, heard=NOW - 106)).verdict == "offline"
    assert look(run("waiting"), beats=AWAY, heard=NOW - 105) == Judgement((), (), (), (), over=False)
    for beats in (AWAY, ONLINE):
        assert look(running, beats=beats, heard=NOW - 195) == Judgement((), (), (), (), over=False)
        assert look(running, beats=beats, heard=NOW - 196).crash
    assert only(look(beats={}, heard=NOW)).verdict == "offline"  # no worker of this host was ever seen


def test_a_waiting_run_of_a_silent_host_is_cancelled_and_the_next_look_knows_why() -> None:
    judgement = look(run("waiting"), beats=AWAY)
    [(name, message)] = judgement.cancel
    later = look(run("cancelled", message=message, began=None), beats=AWAY)

    assert (name, judgement.over, later.over) == ("a", False, True)
    assert only(judgement).verdict == "offline"
    assert replace(only(later), seconds=None) == only(judgement)


def test_a_run_of_a_host_that_died_is_crashed_only_when_it_shows_no_sign_of_life_either() -> None:
    alive = [run("running", beat=NOW - 195), run("running", began=NOW - 195), run("running", began=NOW - 900, beat=NOW)]
    dead = look(run("running", began=NOW - 900, beat=NOW - 196), beats=AWAY)

    assert [look(each, beats=AWAY) for each in alive] == [Judgement((), (), (), (), over=False)] * 3
    assert dead.crash == (("a", "offline: no sign of life from the run since 2026-01-01 02:43:24 UTC"),)
    assert only(dead).verdict == "offline"
    assert not dead.over
    assert only(look(run("crashed", message=dead.crash[0][1]), beats=AWAY)).verdict == "offline"


def test_a_host_that_is_back_while_its_run_is_dead_tries_again() -> None:
    judgement = look(run("running", began=NOW - 900, beat=NOW - 800))
    [(name, message)] = judgement.crash

    assert (name, judgement.verdicts) == ("a", ())
    assert look(run("crashed", message=message)).release == (("gpu-1", 2),)


def test_without_known_heartbeats_a_run_of_an_online_host_is_not_taken_for_dead() -> None:
    assert look(run("running", began=NOW - 900)).crash == ()


def test_a_run_that_takes_too_long_is_slow_and_is_not_tried_again() -> None:
    judgement = look(run("running", began=NOW - 1001, beat=NOW))

    assert judgement.cancel == (("a", "slow: the run took longer than 1000 s"),)
    cancelling = look(run("running", message=judgement.cancel[0][1], began=NOW - 1001, beat=NOW))
    assert cancelling == replace(judgement, cancel=(), over=True)
    for message in (judgement.cancel[0][1], "the worker's own words"):
        ended = look(run("cancelled", message=message, began=NOW - 1001, ended=NOW))
        assert (only(ended).verdict, ended.over) == ("slow", True)
        assert only(ended).cause == "the run took longer than 1000 s"


def test_a_run_that_is_being_cancelled_on_a_host_that_died_is_crashed() -> None:
    judgement = look(run("running", message="slow: it took too long", began=NOW - 2000, beat=NOW - 900), beats=AWAY)

    assert [name for name, _ in judgement.crash] == ["a"]
    assert only(judgement).verdict == "slow"
    assert only(look(run("crashed", message=judgement.crash[0][1]), beats=AWAY)).verdict == "slow"


def test_a_run_that_its_online_worker_does_not_begin_is_slow() -> None:
    assert look(run("waiting", created=NOW - 999)).cancel == ()
    assert only(look(run("waiting", created=NOW - 1001))).cause == "its worker did not begin the run within 1001 s"
    assert only(look(run("waiting", created=NOW - 31), rules=replace(RULES, grace=30))).verdict == "slow"


@pytest.mark.parametrize("state", ["failed", "crashed"])
def test_a_failed_run_is_tried_again_until_retries_are_used_up(state: RunState) -> None:
    first, last = run(state, message="no route"), run(state, 2, "no\nspace", "b", ended=NOW)

    assert look(first) == Judgement((), (), (), (("gpu-1", 2),), over=False)
    assert look(first, last) == Judgement(
        (HostVerdict("gpu-1", Verdict.FAILED, "no\\nspace", 2, 100),), (), (), (), over=True
    )


def test_a_host_that_went_away_before_its_next_attempt_is_offline_and_not_failed() -> None:
    for judgement in (look(run("failed", message="no route"), beats=AWAY), look(run("failed"), closed=True)):
        assert only(judgement).verdict == "offline"
        assert judgement.over
    assert only(look(run("failed", message="no route"), beats=AWAY)).cause == (
        f"{SILENT}; run `prestow node up --name gpu-1` on it; attempt 1: no route"
    )


def test_a_host_that_returns_while_the_wave_runs_tries_again() -> None:
    offline = run("cancelled", message="offline: its worker has been silent")

    assert look(offline).release == (("gpu-1", 2),)
    assert only(look(offline, closed=True)).verdict == "offline"
    assert only(look(offline, rules=replace(RULES, retries=0))).verdict == "offline"


def test_nothing_begins_in_a_wave_that_a_later_one_has_closed() -> None:
    assert only(look(closed=True)) == HostVerdict(
        "gpu-1", Verdict.OFFLINE, "it was offline when its turn came", 0, None
    )


def test_a_refused_run_is_not_tried_again() -> None:
    assert only(look(run("refused", message="12 GB are missing"))) == HostVerdict(
        "gpu-1", Verdict.REFUSED, "12 GB are missing", 1, None
    )


def test_a_run_that_a_person_cancels_is_skipped() -> None:
    judgement = look(run("cancelled", message="Cancelled from the UI", ended=NOW))

    assert only(judgement) == HostVerdict("gpu-1", Verdict.SKIPPED, "cancelled by a person", 1, 100)
    assert judgement.over


def test_a_failure_without_a_message_has_a_cause() -> None:
    assert only(look(run("failed", 2))).cause == "failed, without a message"


def test_a_host_cannot_pass_a_failure_off_as_its_absence() -> None:
    assert only(look(run("failed", 2, "offline: not my fault"))).verdict == "failed"


def test_of_two_runs_of_one_attempt_the_older_counts_and_the_other_is_cancelled() -> None:
    older, younger = run("waiting", name="z", created=NOW - 50), run("running", name="b", created=NOW - 40)

    assert look(younger, older).cancel == (("b", "double: another run of gpu-1 counts"),)
    assert look(replace(older, state="failed"), replace(younger, state="cancelled", message="double: x")).release == (
        ("gpu-1", 2),
    )
    assert look(older, replace(younger, message="double: it ends")).cancel == (), "it is being cancelled already"


def test_a_run_that_was_cancelled_as_a_double_does_not_count_though_it_is_older() -> None:
    assert only(look(run("cancelled", message="double: x"), run("refused", name="b"))).verdict == "refused"


def test_an_attempt_of_which_all_runs_were_cancelled_as_doubles_is_tried_again() -> None:
    both = [run("cancelled", message="double: x", name=name) for name in "ab"]

    assert look(*both).release == (("gpu-1", 2),)


def test_a_completed_run_decides_whatever_else_was_decided() -> None:
    done = run("completed", name="b", message="All fine", ended=NOW)
    for other in (run("crashed", 2, "offline: silent"), run("waiting", 2), run("running"), run("cancelled", 2)):
        judgement = look(other, done, beats=AWAY)
        assert only(judgement) == HostVerdict("gpu-1", Verdict.DONE, "", 1, 100)
        assert bool(judgement.cancel) == (other.state in {"waiting", "running"})


def test_hosts_that_are_asked_again_begin_with_the_next_attempt_and_have_all_retries() -> None:
    rules = replace(RULES, first={"gpu-1": 3})
    earlier = [run("failed"), run("failed", 2, name="b")]

    assert look(*earlier, rules=rules).release == (("gpu-1", 3),)
    assert only(look(*earlier, rules=rules, beats={})).attempts == 2
    assert look(*earlier, run("failed", 3, name="c"), rules=rules).release == (("gpu-1", 4),)
    assert only(look(*earlier, run("failed", 4, name="c"), rules=rules)).verdict == "failed"
    assert [name for name, _ in look(run("waiting"), run("waiting", 3, name="c"), rules=rules).cancel] == ["a"]


def test_limits_of_a_host_go_before_the_rollout() -> None:
    hosts = [Host(name="gpu-1", limits=Limits(timeout=50.0)), Host(name="gpu-2")]
    rules = Rules.of(Rollout(timeout=1000.0, retries=3), hosts, {"gpu-2": 4})

    assert rules == Rules(1000, 3, {"gpu-1": 50}, {"gpu-2": 4})
    assert only(look(run("running"), rules=rules)).cause == "the run took longer than 50 s"


def test_a_coordinator_resumes_in_the_last_wave_that_has_a_run() -> None:
    waves = [Wave(1, 3, ("gpu-0",)), Wave(2, 3, ("gpu-1", "gpu-2")), Wave(3, 3, ("gpu-3",))]

    assert begun(waves, [], RULES) == 0
    assert begun(waves, [run("failed")], RULES) == 2
    assert begun(waves, [run("failed")], replace(RULES, first={"gpu-1": 2})) == 0


STATES: list[RunState] = ["waiting", "running", "completed", "failed", "refused", "crashed", "cancelled"]
MESSAGES = st.sampled_from(["", "offline: x", "slow: x", "double: x", "no space"])
BEATS = st.none() | st.integers(NOW - 900, NOW)
RUNS = st.one_of(  # attempt and time of creation of a run never change
    st.builds(
        run, st.sampled_from(STATES), st.just(attempt), MESSAGES, st.just(name), created=st.just(made), beat=BEATS
    )
    for name, attempt, made in (("a", 1, NOW - 900), ("b", 1, NOW - 900), ("c", 2, NOW - 500), ("d", 3, NOW - 100))
)


@settings(deadline=None)
@given(
    runs=st.lists(RUNS, max_size=6),
    beats=st.sampled_from([ONLINE, AWAY]),
    seed=st.integers(0, 99),
    closed=st.booleans(),
)
def test_order_and_repetition_of_what_a_look_shows_change_nothing(
    runs: list[Run], beats: dict[str, datetime | None], seed: int, *, closed: bool
) -> None:
    again = [*runs, *runs[: seed % 4]]
    Random(seed).shuffle(again)

    assert look(*runs, beats=beats, closed=closed) == look(*again, beats=beats, closed=closed)


@settings(deadline=None)
@given(
    runs=st.lists(RUNS, max_size=6, unique_by=lambda one: one.id),
    beats=st.sampled_from([ONLINE, AWAY]),
    closed=st.booleans(),
)
def test_a_look_ends_only_runs_that_live_and_makes_one_attempt_at_most(
    runs: list[Run], beats: dict[str, datetime | None], *, closed: bool
) -> None:
    judgement = look(*runs, beats=beats, closed=closed)
    live = {each.id for each in runs if each.state in {"waiting", "running"}}

    assert {name for name, _ in (*judgement.cancel, *judgement.crash)} <= live
    assert len(judgement.release) + len(judgement.verdicts) <= 1
    assert all(attempt == max([each.attempt for each in runs], default=0) + 1 for _, attempt in judgement.release)
