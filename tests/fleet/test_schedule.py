"""Times, jitter and windows of schedules, also when clocks change; the oracle is Prefect's own schedule."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.fleet.file import Schedule
from prestow.fleet.schedule import delay, missed, times

NIGHTLY = Schedule(cron="30 2 * * *", zone="Europe/Berlin", window=3 * 3600.0, jitter=600.0)
BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
CRONS = st.sampled_from(["30 2 * * *", "0 * * * *", "*/20 6-8 * * 1-5", "0 0 1 * *", "15 3 * * 0", "0 12 31 * *"])
SECONDS = st.just(0.0) | st.floats(1, 9999)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])


def changes_near(moment: datetime, zone: str) -> bool:
    """Whether the clocks of a zone change within a day."""
    offsets = {(moment + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).utcoffset() for hours in range(-26, 27)}
    return len(offsets) > 1


@settings(deadline=None, max_examples=20)
@given(CRONS, ZONES, MOMENTS)
def test_times_are_those_at_which_prefect_makes_runs(cron: str, zone: str, after: datetime) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    found = list(islice(times(Schedule(cron=cron, zone=zone), after), 4))
    prefect = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(6, after - timedelta(minutes=1)))
    prefect = [time.astimezone(UTC) for time in prefect if time > after]

    assert all(time > after for time in found)
    if not any(changes_near(time, zone) for time in [after, *found, *prefect]):
        assert [time.astimezone(UTC) for time in found] == prefect[:4]


def test_a_time_that_does_not_exist_comes_right_after_the_gap_and_one_that_exists_twice_comes_once() -> None:
    spring = next(times(NIGHTLY, datetime(2026, 3, 28, 20, tzinfo=UTC)))
    autumn = list(islice(times(NIGHTLY, datetime(2026, 10, 24, 20, tzinfo=UTC)), 2))

    assert spring == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert [f"{time:%d %H:%M %z}" for time in [spring, *autumn]] == [
        "29 03:00 +0200", "25 02:30 +0200", "26 02:30 +0100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "scheduled",
    [
        datetime(2026, 1, 15, 2, 30, tzinfo=BERLIN),
        datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN),  # two to three o'clock does not exist
        datetime(2026, 10, 25, 1, 30, tzinfo=BERLIN),  # two to three o'clock comes twice
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
    ],
    ids=str,
)
def test_a_window_of_three_hours_is_three_hours_also_when_the_clocks_change(scheduled: datetime) -> None:
    end = scheduled.astimezone(UTC) + timedelta(hours=3)

    for zone in (UTC, BERLIN):
        assert not missed(NIGHTLY, scheduled, end.astimezone(zone))
        assert missed(NIGHTLY, scheduled, (end + timedelta(seconds=1)).astimezone(zone))


def test_a_run_that_begins_before_its_time_has_not_missed_it() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert not missed(NIGHTLY, now + timedelta(hours=9), now)


@given(MOMENTS, st.text(max_size=5), SECONDS, SECONDS)
def test_a_delay_is_below_jitter_and_window_and_always_the_same(
    scheduled: datetime, name: str, jitter: float, window: float
) -> None:
    schedule = NIGHTLY.model_copy(update={"jitter": jitter, "window": window})
    found = delay(schedule, name, scheduled)

    assert 0 <= found < min(jitter, window) or found == min(jitter, window) == 0
    assert found == delay(schedule, name, scheduled.astimezone(BERLIN))
    assert not missed(schedule, scheduled, scheduled + timedelta(seconds=found))


def test_sets_do_not_begin_at_once_nor_a_set_at_the_same_second_each_night() -> None:
    first, second = islice(times(NIGHTLY, datetime(2026, 1, 1, tzinfo=UTC)), 2)
    sets = sorted(delay(NIGHTLY, f"set-{number}", first) for number in range(1000))

    assert delay(NIGHTLY, "nightly", first) != delay(NIGHTLY, "nightly", second)
    assert all(number * 60 - 60 < sets[number * 100] < number * 60 + 60 for number in range(10))
