"""Workers of a large fleet poll more rarely, and a worker is online for three heartbeats and a margin."""

from datetime import UTC, datetime, timedelta

import pytest

from prestow.fleet.polling import is_alive, poll_seconds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("hosts", [0, 1, 150, 151, 1000, 5000])
def test_all_workers_together_poll_15_times_a_second_at_most(hosts: int) -> None:
    assert poll_seconds(hosts) >= 10
    assert hosts / poll_seconds(hosts) <= 15 + 1e-9
    assert poll_seconds(hosts) == 10 or hosts > 150


@pytest.mark.parametrize(("age", "alive"), [(0, True), (105, True), (106, False)])
def test_a_heartbeat_counts_for_three_intervals_and_15_seconds(age: int, *, alive: bool) -> None:
    assert is_alive(NOW - timedelta(seconds=age), 30, NOW) is alive


def test_a_worker_without_a_heartbeat_is_not_online() -> None:
    assert not is_alive(None, 30, NOW)


def test_a_heartbeat_by_a_clock_that_is_ahead_counts() -> None:
    assert is_alive(NOW + timedelta(seconds=5), 30, NOW)
