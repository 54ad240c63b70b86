"""Figures of transfers, by a clock that the tests set: no test waits."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.journal import Line
from tasks.transfers import WINDOW, Figures, Transfers

MIB = 1 << 20
FETCH = "fetch_layer"


def expected(subject: str, count: int) -> Line:
    return Line("expected", FETCH, subject, count)


def began(subject: str, total: int = 0) -> Line:
    return Line("began", FETCH, subject, total)


def moved(subject: str, count: int) -> Line:
    return Line("moved", FETCH, subject, count=count)


def ended(subject: str) -> Line:
    return Line("ended", FETCH, subject)


def failed(subject: str, seconds: float | None = None, why: str = "") -> list[Line]:
    """A step that fails, and is tried again after some seconds."""
    waiting = [] if seconds is None else [Line("waiting", FETCH, subject, seconds=seconds, why=why)]
    return [Line("failed", FETCH, subject), *waiting]


def after(*lines: Line, now: float = 0.0) -> Transfers:
    transfers = Transfers()
    for line in lines:
        transfers.take(line, now)
    return transfers


def whole(transfers: Transfers, now: float) -> Figures:
    found = transfers.whole(now)
    assert found is not None
    return found.figures


def test_a_steady_transfer_has_its_rate_and_the_time_that_is_left() -> None:
    transfers = after(expected("a", 100 * MIB), began("a"))
    for second in range(1, 21):
        transfers.take(moved("a", 2 * MIB), second)

    found = transfers.of(FETCH, "a", 20.0)

    assert (found.moved, found.total) == (40 * MIB, 100 * MIB)
    assert found.rate == pytest.approx(2 * MIB)
    assert found.left == pytest.approx(30)
    assert whole(transfers, 20.0) == found


def test_a_rate_is_that_of_the_last_seconds_and_not_since_the_beginning() -> None:
    transfers = after(expected("a", 1000 * MIB), began("a"))
    transfers.take(moved("a", 500 * MIB), 1.0)
    for second in range(100, 111):
        transfers.take(moved("a", MIB), second)

    assert transfers.of(FETCH, "a", 110.0).rate == pytest.approx(MIB)


def test_a_transfer_that_stands_still_shows_since_when_and_never_its_last_rate() -> None:
    transfers = after(expected("a", 100 * MIB), began("a"))
    transfers.take(moved("a", 50 * MIB), 1.0)

    soon, later = transfers.of(FETCH, "a", 2.0), transfers.of(FETCH, "a", 1.0 + WINDOW)

    assert soon.rate > 0
    assert soon.still == 0
    assert (later.rate, later.left, later.still) == (0, None, WINDOW)
    assert transfers.of(FETCH, "a", 101.0).still == 100
    assert whole(transfers, 101.0).still == 100


def test_a_transfer_without_a_first_byte_stands_still_since_it_began() -> None:
    transfers = after(expected("a", MIB), began("a"), now=10.0)

    assert transfers.of(FETCH, "a", 12.0).still == 0
    assert transfers.of(FETCH, "a", 30.0).still == 20


def test_all_together_stand_still_only_since_the_last_byte_or_beginning_of_any() -> None:
    transfers = after(expected("a", MIB), expected("b", MIB), began("a"))
    transfers.take(began("b"), 50.0)

    assert whole(transfers, 52.0).still == 0
    assert whole(transfers, 60.0).still == 10


def test_the_total_has_layers_that_have_not_begun_and_none_that_was_here() -> None:
    transfers = after(expected("a", 3 * MIB), expected("b", 5 * MIB), began("a"), moved("a", MIB))

    found = transfers.whole(1.0)

    assert found is not None
    assert (found.figures.moved, found.figures.total) == (MIB, 8 * MIB)
    assert (found.layers, found.done, found.running) == (2, 0, True)
    assert after().whole(1.0) is None


def test_a_layer_that_another_process_fetched_meanwhile_is_no_longer_expected() -> None:
    transfers = after(expected("a", 3 * MIB), expected("b", 5 * MIB), began("a"), ended("a"))

    assert whole(transfers, 1.0).total == 5 * MIB


def test_bytes_that_had_to_be_fetched_again_make_the_total_larger() -> None:
    transfers = after(expected("a", MIB), began("a"), moved("a", MIB), moved("a", MIB))

    assert transfers.of(FETCH, "a", 1.0).total == 2 * MIB


def test_a_wait_counts_down_and_ends_with_the_next_attempt() -> None:
    transfers = after(expected("a", MIB), began("a"), *failed("a", 40.0, "registry.example asked for 40 s"))

    assert transfers.of(FETCH, "a", 10.0).wait == 30
    assert transfers.waits(10.0) == ["registry.example asked for 40 s"]
    assert whole(transfers, 10.0).wait == 30
    assert [subject for _, subject, _ in transfers.running(10.0)] == ["a"]

    transfers.take(began("a"), 40.0)

    assert transfers.of(FETCH, "a", 41.0).wait is None
    assert transfers.waits(41.0) == []


def test_all_together_wait_only_if_each_that_works_does() -> None:
    lines = [expected("a", MIB), expected("b", MIB), began("a"), began("b")]
    transfers = after(*lines, *failed("a", 40.0, "slow down"))

    assert whole(transfers, 10.0).wait is None

    for line in failed("b", 20.0, "slow down"):
        transfers.take(line, 10.0)

    assert whole(transfers, 12.0).wait == 18


def test_a_reason_that_differs_in_its_subject_alone_is_one() -> None:
    transfers = after(began("a1"), began("b2"), *failed("a1", 9.0, "a1 in x: 429"), *failed("b2", 9.0, "b2 in x: 429"))

    assert transfers.waits(1.0) == ["a1 in x: 429"]
    assert transfers.is_waited_for(Line("waiting", FETCH, "c3", why="c3 in x: 429"), 1.0)
    assert not transfers.is_waited_for(Line("waiting", FETCH, "c3", why="c3 in x: 503"), 1.0)
    assert not transfers.is_waited_for(Line("waiting", FETCH, "c3", why="c3 in x: 429"), 10.0)


def test_a_step_that_fails_for_good_or_ends_is_no_longer_under_way() -> None:
    transfers = after(expected("a", MIB), began("a"), began("b"), moved("a", 5), *failed("a"), ended("b"))
    transfers.take(Line("began", "apply", "c"), 0.0)

    assert [(step, subject) for step, subject, _ in transfers.running(1.0)] == [("apply", "c")]
    assert (whole(transfers, 1.0).moved, whole(transfers, 1.0).total) == (5, MIB)

    transfers.take(Line("ended", "apply", "c"), 1.0)

    assert transfers.running(1.0) == []


def test_bytes_of_unpacking_are_none_of_the_total() -> None:
    transfers = after(expected("a", MIB), Line("began", "apply", "b", 9), Line("moved", "apply", "b", 9, 9))

    assert whole(transfers, 1.0).moved == 0
    assert transfers.of("apply", "b", 1.0).moved == 9


def test_a_transfer_that_stands_still_for_exactly_the_window_has_no_rate() -> None:
    transfers = after(expected("a", 1 << 40), began("a"))
    transfers.take(moved("a", 1), 0.002)

    found = transfers.of(FETCH, "a", 0.002 + WINDOW)

    assert (found.still, found.rate, found.left) == (WINDOW, 0, None)


@given(
    st.lists(
        st.tuples(st.integers(0, 3000).map(lambda ms: ms / 1000), st.integers(1, 10 * MIB)), min_size=1, max_size=200
    ),
    st.data(),
)
def test_no_order_of_chunks_makes_more_bytes_a_second_than_came_within_the_window(
    chunks: list[tuple[float, int]], data: st.DataObject
) -> None:
    times = list(accumulate(wait for wait, _ in chunks))
    transfers = after(expected("a", 1 << 40), began("a"))
    for now, (_, count) in zip(times, chunks, strict=True):
        transfers.take(moved("a", count), now)
    now = times[-1] + data.draw(st.floats(0.0, 20.0))

    found = transfers.of(FETCH, "a", now)

    lately = sum(count for at, (_, count) in zip(times, chunks, strict=True) if now - at < WINDOW)
    seconds = min(WINDOW, max(now, 1.0))
    assert found.rate <= lately / seconds * (1 + 1e-9)
    assert (found.rate > 0) == (found.left is not None)
    assert found.moved == sum(count for _, count in chunks)
    if found.still:
        assert (found.rate, found.left) == (0, None)


@given(st.permutations(["a", "b", "c"]), st.lists(st.integers(0, MIB), min_size=3, max_size=3))
def test_when_all_have_ended_all_bytes_are_there(order: list[str], counts: list[int]) -> None:
    sizes = dict(zip("abc", counts, strict=True))
    transfers = after(*(expected(name, size + 1) for name, size in sizes.items()))
    for name in order:
        for line in (began(name), moved(name, sizes[name]), ended(name)):
            transfers.take(line, 1.0)

    found = transfers.whole(2.0)

    assert found is not None
    assert (found.figures.moved, found.done, found.running) == (found.figures.total, 3, False)
