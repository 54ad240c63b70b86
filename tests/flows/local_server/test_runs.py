"""The runs of a process that was killed are found, those of one that lives are not."""

import os
import uuid
from pathlib import Path

import pytest

from flows.local_server.runs import noting, registered, unfinished
from prestow.content.disk import remove_abandoned
from tests.conformance.crash import killed_at_each_call


def _killed_in(home: Path, *runs: uuid.UUID) -> None:
    """Begin runs in a process that ends without ending them."""
    child = os.fork()
    if child == 0:
        with noting(home, "local"):
            for run in runs:
                registered(run).__enter__()
            os._exit(0)
    os.waitpid(child, 0)


def test_runs_whose_process_has_ended_are_told_once_to_the_api_that_knows_them(tmp_path: Path) -> None:
    one, other = uuid.uuid4(), uuid.uuid4()
    _killed_in(tmp_path, one, other)

    assert list(unfinished(tmp_path, "http://elsewhere/api")) == []
    assert set(unfinished(tmp_path, "local")) == {one, other}
    assert list(unfinished(tmp_path, "local")) == []


def test_a_process_killed_while_it_notes_a_run_leaves_nothing_that_stays(tmp_path: Path) -> None:
    run = uuid.uuid4()

    def begin() -> None:
        with noting(tmp_path, "local"):
            registered(run).__enter__()

    drafts = 0
    for _ in killed_at_each_call(begin):
        files = {path for path in tmp_path.rglob("*") if path.is_file()}
        remove_abandoned(tmp_path / "prefect")  # as recovery does
        stays = {path for path in tmp_path.rglob("*") if path.is_file()}
        drafts += len(files - stays)
        assert stays <= {tmp_path / f"prefect/runs/{run}"}
        assert list(unfinished(tmp_path, "local")) == [run] * len(stays)
    assert drafts > 0


def test_runs_of_a_living_process_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    with noting(tmp_path, "local"), registered(uuid.uuid4()):
        (tmp_path / "prefect/runs/notes").write_text("{}")
        assert list(unfinished(tmp_path, "local")) == []
        assert len(list((tmp_path / "prefect/runs").iterdir())) == 2
    assert [path.name for path in (tmp_path / "prefect/runs").iterdir()] == ["notes"]


@pytest.mark.parametrize("content", ["", '{"api":', "{}", "[]"])
def test_a_run_whose_file_a_power_cut_took_is_told_once(tmp_path: Path, content: str) -> None:
    run = uuid.uuid4()
    (tmp_path / "prefect/runs").mkdir(parents=True)
    (tmp_path / f"prefect/runs/{run}").write_text(content)

    assert list(unfinished(tmp_path, "local")) == [run]
    assert list(unfinished(tmp_path, "local")) == []


def test_the_files_of_many_runs_in_one_process_do_not_gather(tmp_path: Path) -> None:
    with noting(tmp_path, "local"):
        for _ in range(100):
            with registered(uuid.uuid4()):
                pass
        assert len(list((tmp_path / "prefect/runs").iterdir())) < 20


def test_outside_of_a_connection_and_where_nothing_can_be_written_runs_go_on(tmp_path: Path) -> None:
    with registered(uuid.uuid4()):
        pass
    (tmp_path / "prefect").write_text("no folder")
    with noting(tmp_path, "local"), registered(uuid.uuid4()):
        pass
    assert list(unfinished(tmp_path / "none", "local")) == []
