"""Every command, as a person types it: killed before any system call that changes something, any failing, power cut.

The engine's functions meet the same fates at many more calls in :mod:`tests.crash.test_matrix`; here all is real: the
interpreter, the flow with its threads and retries, the command's exit status.
"""

import errno
from collections.abc import Iterator

import pytest

from flows.local_server.ensure import Server, environment
from tests.crash.commands import COMMANDS
from tests.crash.laws import Laws
from tests.crash.outages import outages
from tests.crash.stage import Stage
from tests.crash.supervisor import KILL, Ended

_LARGE = (pytest.mark.large, pytest.mark.timeout(1200))
_MATRIX = (pytest.mark.matrix, pytest.mark.timeout(7200))

ALL = [pytest.param(command, 40, marks=_MATRIX, id=f"{command}-40") for command in COMMANDS]
RARE = [*(pytest.param(command, 1, marks=_LARGE, id=f"{command}-1") for command in COMMANDS), *ALL]
CASES = [*(pytest.param(command, 1, marks=pytest.mark.long, id=command) for command in COMMANDS), *ALL]


@pytest.fixture(autouse=True)
def _api(prefect_api: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let commands know the shared Prefect server, and nothing of this user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
        for name, value in environment(prefect_api).items():
            if name != "PREFECT_HOME":
                patch.setenv(name, value)
        yield


@pytest.mark.parametrize(("command", "count"), CASES)
def test_killed_before_any_system_call(stage: Stage, command: str, count: int) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert ended.error == ""
        laws.check(ended.told)

    stage.attempts(command, count, KILL, check)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(("command", "count"), RARE)
def test_any_system_call_may_fail(stage: Stage, command: str, count: int, code: int) -> None:
    def check(laws: Laws, ended: Ended) -> None:
        assert not ended.killed
        laws.check(ended.told, full=code == errno.ENOSPC)

    stage.attempts(command, count, code, check)


@pytest.mark.parametrize(("command", "count"), RARE)
def test_after_a_power_cut_what_was_done_is_there(stage: Stage, command: str, count: int) -> None:
    outages(stage, command, count)
