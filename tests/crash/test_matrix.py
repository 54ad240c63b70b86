"""Every verb: killed before any system call that changes something, any of them failing, the power cut at any.

A sample of the calls, spread over all; more of them with ``make large``, and all with ``make matrix``.
"""

import errno

import pytest

from tests.crash.laws import Laws
from tests.crash.outages import outages
from tests.crash.stage import Stage
from tests.crash.supervisor import KILL, Ended
from tests.crash.verbs import VERBS

SAMPLED = [
    2,
    pytest.param(12, marks=[pytest.mark.large, pytest.mark.timeout(1200)]),
    pytest.param(None, marks=[pytest.mark.matrix, pytest.mark.timeout(7200)]),
]


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_before_any_system_call(stage: Stage, verb: str, count: int | None) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert ended.error == ""
        laws.check(ended.told)

    stage.attempts(verb, count, KILL, check)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", [verb for verb, how in VERBS.items() if how.driver == "auto"])
def test_any_system_call_may_fail(stage: Stage, verb: str, count: int | None, code: int) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert not ended.killed
        laws.check(ended.told, full=code == errno.ENOSPC)

    stage.attempts(verb, count, code, check)


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", [verb for verb, how in VERBS.items() if how.driver == "auto"])
def test_any_reading_may_fail(stage: Stage, verb: str, count: int | None) -> None:
    stage.attempts(verb, count, errno.EIO, lambda laws, ended: laws.check(ended.told), reading=True)


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", VERBS)
def test_after_a_power_cut_what_was_done_is_there(stage: Stage, verb: str, count: int | None) -> None:
    outages(stage, verb, count)
