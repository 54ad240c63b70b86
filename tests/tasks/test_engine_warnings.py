"""What the engine says comes to whoever watches the run that it concerns, and to nobody else."""

import logging
import threading
from contextvars import copy_context

import pytest

from tasks.journal import Line, journal, listening

ENGINE = logging.getLogger("prestow.some.room")


@pytest.fixture
def lines() -> list[Line]:
    return []


def test_a_warning_is_told_with_what_is_foreign_in_it_made_harmless(lines: list[Line]) -> None:
    with listening(lines.append), journal():
        ENGINE.warning("waiting for %s", "it\x1b[2J")
        ENGINE.info("a detail")
        logging.getLogger("another.library").warning("its own affair")

    assert lines == [Line("warning", "", "", why=r"waiting for it\x1b[2J")]


def test_threads_of_the_run_are_heard_once_and_others_are_not(lines: list[Line]) -> None:
    with listening(lines.append), journal(), journal():
        for target in (copy_context().run, lambda say: say()):
            thread = threading.Thread(target=target, args=(lambda: ENGINE.warning("said"),))
            thread.start()
            thread.join()

    assert [line.why for line in lines] == ["said"]


def test_of_two_runs_each_hears_its_own(lines: list[Line]) -> None:
    other: list[Line] = []
    inner = copy_context()
    with listening(lines.append), journal():
        inner.run(_say_in_a_run_of_its_own, other)

    assert (lines, [line.why for line in other]) == ([], ["said"])


def _say_in_a_run_of_its_own(lines: list[Line]) -> None:
    with listening(lines.append), journal():
        ENGINE.warning("said")


def test_afterwards_nobody_listens(lines: list[Line]) -> None:
    before = list(logging.getLogger("prestow").handlers)
    with listening(lines.append), journal():
        pass

    ENGINE.warning("said")

    assert (lines, logging.getLogger("prestow").handlers) == ([], before)


def test_what_is_marked_once_is_told_once_in_a_run_and_little_of_it(lines: list[Line]) -> None:
    for _ in range(2):
        with listening(lines.append), journal():
            for n in (1, 1, *range(100)):
                ENGINE.warning("a registry says %d", n, extra={"once": True})
            ENGINE.warning("ours")
            ENGINE.warning("ours")
        assert [line.why for line in lines] == [f"a registry says {n}" for n in (1, 0, *range(2, 10))] + ["ours"] * 2
        lines.clear()
