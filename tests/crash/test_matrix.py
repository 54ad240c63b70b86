"""Every verb: killed before any system call that changes something, any of them failing, the power cut at any.

A sample of the calls, spread over all; more of them with ``make large``, and all with ``make matrix``.
"""

import errno
from dataclasses import replace

import pytest

from tests.crash.laws import Laws
from tests.crash.outages import outages
from tests.crash.stage import Stage
from tests.crash.supervisor import GO_ON, KILL, Ended, supervised
from tests.crash.verbs import VERBS

SAMPLED = [
    1,
    pytest.param(12, marks=[pytest.mark.large, pytest.mark.timeout(1200)]),
    pytest.param(None, marks=[pytest.mark.matrix, pytest.mark.timeout(7200)]),
]
_EARLY = 50  # calls within which recovery has been


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_before_any_system_call(stage: Stage, verb: str, count: int | None) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert ended.error == ""
        laws.check(ended.told)

    stage.attempts(verb, count, KILL, check)


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_again_while_it_puts_in_order_what_the_first_left(stage: Stage, verb: str, count: int | None) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        at = ended.calls % _EARLY
        again = supervised(
            lambda voice: laws.verb.run(replace(laws.job, say=voice.say)),
            lambda call: KILL if call.number == 1 + at else GO_ON,
        )
        laws.check([*ended.told, *again.told])

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
