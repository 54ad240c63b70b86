"""Killed before any system call of fetch and commit, as the kernel sees them: nothing half done is ever visible."""

from pathlib import Path

from tests.content.test_crash import assert_tidy, fetch_then_commit, is_consistent
from tests.crash.supervisor import GO_ON, KILL, supervised


def test_killed_before_any_system_call_of_fetch_and_commit(tmp_path: Path) -> None:
    fetch_then_commit(tmp_path / "warm")  # so that nothing is imported on the way
    at, killed = 0, True
    while killed:
        at += 1
        home = tmp_path / str(at)
        ended = supervised(
            lambda _, home=home: fetch_then_commit(home), lambda call, at=at: KILL if call.number == at else GO_ON
        )
        killed = ended.killed
        assert (ended.error, ended.foreign) == ("", "")
        is_consistent(home)

        fetch_then_commit(home)

        assert is_consistent(home)
        assert_tidy(home)
    assert at > 40
