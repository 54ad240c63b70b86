"""The power is cut at any step of any verb: what was said to be done is there at the next boot, whole."""

import pytest

from tests.crash.outages import outages
from tests.crash.stage import Stage
from tests.crash.test_matrix import SAMPLED
from tests.crash.verbs import VERBS


@pytest.mark.parametrize("count", SAMPLED)
@pytest.mark.parametrize("verb", VERBS)
def test_what_was_done_is_there_at_the_next_boot(stage: Stage, verb: str, count: int | None) -> None:
    outages(stage, verb, count)
