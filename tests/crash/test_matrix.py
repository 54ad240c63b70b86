"""Every verb: killed before any system call that changes something, any of them failing, the power cut at any.

One call of each verb, another for each fate, some of these with ``make long``; more of them, and the other drivers,
with ``make large``; all of them with ``make matrix``.
"""

import errno
from dataclasses import replace

import pytest

from tests.cases import long_but
from tests.crash.laws import Laws
from tests.crash.outages import outages
from tests.crash.stage import Stage
from tests.crash.supervisor import GO_ON, KILL, Ended, supervised
from tests.crash.verbs import VERBS

_LARGE = (pytest.mark.large, pytest.mark.timeout(1200))
_MATRIX = (pytest.mark.matrix, pytest.mark.timeout(7200))

ONCE = [pytest.param(verb, 1, id=verb) for verb in VERBS if verb.isalpha()]  # not those in another way than usual
MORE = [
    *(pytest.param(verb, 8, marks=_LARGE, id=f"{verb}-8") for verb in VERBS),
    *(pytest.param(verb, None, marks=_MATRIX, id=f"{verb}-all") for verb in VERBS),
]
CASES = [*ONCE, *MORE]
LONG = [*(pytest.param(*case.values, marks=pytest.mark.long, id=case.id) for case in ONCE), *MORE]
_EARLY = 50  # calls within which recovery has been


@pytest.mark.parametrize(("verb", "count"), CASES)
def test_killed_before_any_system_call(stage: Stage, verb: str, count: int | None) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert ended.error == ""
        laws.check(ended.told)

    stage.attempts(verb, count, KILL, check)


@pytest.mark.parametrize(("verb", "count"), LONG)
def test_killed_again_while_it_puts_in_order_what_the_first_left(stage: Stage, verb: str, count: int | None) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        at = ended.calls % _EARLY
        again = supervised(
            lambda voice: laws.verb.run(replace(laws.job, say=voice.say)),
            lambda call: KILL if call.number == 1 + at else GO_ON,
        )
        laws.check([*ended.told, *again.told])

    stage.attempts(verb, count, KILL, check)


@pytest.mark.parametrize("code", long_but(errno.ENOSPC, [errno.EIO, errno.ENOSPC]))
@pytest.mark.parametrize(("verb", "count"), CASES)
def test_any_system_call_may_fail(stage: Stage, verb: str, count: int | None, code: int) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert not ended.killed
        laws.check(ended.told, full=code == errno.ENOSPC)

    stage.attempts(verb, count, code, check)


@pytest.mark.parametrize(("verb", "count"), LONG)
def test_any_reading_may_fail(stage: Stage, verb: str, count: int | None) -> None:
    stage.attempts(verb, count, errno.EIO, lambda laws, ended: laws.check(ended.told), reading=True)


@pytest.mark.parametrize(("verb", "count"), LONG)
def test_after_a_power_cut_what_was_done_is_there(stage: Stage, verb: str, count: int | None) -> None:
    outages(stage, verb, count)
