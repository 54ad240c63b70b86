"""A container prints the secrets that it was handed: its caller's terminal has them, and no record does."""

import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from prestow.runtime.masking import MASK
from tests.contents import contents
from tests.flows.cli.conftest import Prestow
from tests.prefect_records import ended, events, runs_of, task_runs, until
from tests.wheels import ROOT
from tests.workers import created, without_prefect, worker

pytestmark = pytest.mark.usefixtures("prefect_server")

LONG = 16384 - 8  # where a value is cut by the end of a record


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, str]:
    """Values that differ in what may be done to them on their way, and a file for the one that has lines."""
    canary = secrets.token_hex(6)
    lines = f"-----BEGIN {canary}\n  second-{canary}\n\tthird \x1b[31m{canary}\n"
    assert all(canary in line for line in lines.splitlines())
    (tmp_path / "lines").write_text(lines)
    return {"SHORT": canary, "LONGER": f"https://me:{canary}@host", "LINES": lines, "CONTROL": f"\x07\x1b[2J{canary}ü"}


def found_in(folder: Path, canary: str, *besides: str) -> list[str]:
    """Return the files that have what is in each line of each value."""
    return [str(path) for path, data in contents(folder) if canary.encode() in data and path.name not in besides]


def ended_run(home: str, count: int) -> FlowRun:
    """Return the ended flow run in a store, once all is recorded that there is of it."""
    (run,) = until(lambda: runs_of("run", home), 1, f"the run in {home}")
    task_runs(run.id, count)
    events(run.id, 1)
    return ended(run.id)


def log(run: UUID, last: str, times: int = 1) -> str:
    """Return the log of a flow run, once it has a text so many times."""

    def whole() -> list[str]:
        with get_client(sync_client=True) as client:
            wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
            records = [client.read_logs(wanted, limit=200, offset=at) for at in (0, 200)]
        text = "\n".join(record.message for page in records for record in page)
        return [text] if text.count(last) >= times else []

    return until(whole, 1, f"{last!r} in the log of {run}")[0]


@pytest.mark.long
def test_the_terminal_has_what_a_container_prints_and_no_record_has_a_secret(
    home: str, tmp_path: Path, shell: str, planted: dict[str, str], prefect_server: Server
) -> None:
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}
    own = {name: planted[name] for name in ("SHORT", "LONGER", "CONTROL")}
    ways = ["--env", "SHORT", "--env", "LONGER", "--secret", "CONTROL", "--secret", f"LINES=file:{tmp_path / 'lines'}"]
    ways += ["--secret", "PIN=env:PIN", "--env", "LEVEL=debug-level"]
    script = 'printf "%s\\n" "$CONTROL" "$PIN"; printf "[%s]\\n" "$LONGER $SHORT" "$LEVEL $PIN" "$LINES" "$CONTROL" >&2'
    script += f'; printf %{LONG}s. "" >&2; printf "%.6s" "$SHORT" >&2; printf %s "${{SHORT#??????}}" >&2; exit 7'

    done = Prestow(Path(home), api, tmp_path)("run", "--id", "box", *ways, shell, "--", "/bin/sh", "-c", script,
                                               env={**own, "PIN": "123"})  # fmt: skip

    assert done.status == 7, done.err
    assert done.out == f"{planted['CONTROL']}\n123\n"
    assert f"[{planted['LONGER']} {planted['SHORT']}]" in done.err
    assert f"[{planted['LINES'].removesuffix(chr(10))}]" in done.err
    assert done.err.endswith("." + planted["SHORT"])
    run = ended_run(home, 13)
    assert run.state is not None
    said = [
        f"[{MASK} {MASK}]",
        "[debug-level 123]",
        f"[{MASK}",
        f"  {MASK}",
        f"\t{MASK}]",
        f"[{MASK}]",
        " " * 200 + "…",
    ]
    assert run.state.message == "\n| ".join(["container box: its process ended with status 7:", *said])
    assert found_in(Path(os.environ["PREFECT_HOME"]), planted["SHORT"]) == []
    assert found_in(Path(home), planted["SHORT"], "config.json") == []


@pytest.mark.long
def test_a_value_that_is_no_text_is_refused_and_in_no_record(
    home: str, tmp_path: Path, shell: str, planted: dict[str, str], prefect_server: Server
) -> None:
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}
    raw = os.fsdecode(b"\xff" + planted["SHORT"].encode())

    done = Prestow(Path(home), api, tmp_path)("run", "--rm", "--secret", "RAW", shell, env={"RAW": raw})

    assert (done.status, "not valid Unicode" in done.err) == (125, True), done
    assert planted["SHORT"] not in done.err
    ended_run(home, 1)
    assert found_in(Path(os.environ["PREFECT_HOME"]), planted["SHORT"]) == []
    assert found_in(Path(home), planted["SHORT"]) == []


@pytest.fixture
def host(
    deploying: None, prefect_server: Server, shell: str, tmp_path: Path, planted: dict[str, str]
) -> Iterator[Path]:
    """The log of a worker on a host that has the values, and offers them."""
    deploy(ROOT)
    own = {name: planted[name] for name in ("SHORT", "LONGER", "CONTROL")}
    own["PRESTOW_DEPLOYED_SECRETS"] = json.dumps([f"file:{os.path.realpath(tmp_path)}/*", "env:*"])
    own["PRESTOW_DEPLOYED_LAYOUTS"] = json.dumps([shell.split(":")[1]])
    with worker(sys.executable, {**without_prefect(), **environment(prefect_server), **own}, tmp_path / "log"):
        yield tmp_path / "log"


@pytest.mark.long
def test_the_log_of_a_deployed_run_and_of_its_retry_has_no_secret(
    host: Path, home: str, tmp_path: Path, shell: str, planted: dict[str, str]
) -> None:
    script = 'printf "out [%s]\\n" "$CONTROL" "$LONGER $SHORT"; printf "err [%s]\\n" "$LINES" "$SHORT$SHORT" >&2; '
    script += f'printf "%{LONG}s" ""; printf "%.6s" "$SHORT"; printf %s "${{SHORT#??????}}"; exit 7'
    given = ["LONGER", "CONTROL=env:CONTROL", f"LINES=file:{tmp_path / 'lines'}"]

    run = created("run/run", reference=shell, args=["/bin/sh", "-c", script], env=["SHORT"], secrets=given, rm=True,
                  home=home)  # fmt: skip

    first = log(run, "Failed(")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"), force=True)
    both = log(run, "Failed(", 2)
    for text in (first, both.removeprefix(first)):
        assert f"out [{MASK}]" in text
        assert f"out [{MASK} {MASK}]" in text
        assert f"err [{MASK}\n  {MASK}\n\t{MASK}]" in text
        assert f"err [{MASK}{MASK}]" in text
        assert " " * LONG + MASK in text
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    assert state is not None
    assert f"[{MASK}{MASK}]" in str(state.message)
    events(run, 1)
    assert found_in(Path(os.environ["PREFECT_HOME"]), planted["SHORT"]) == []
    assert found_in(Path(home), planted["SHORT"]) == []
    assert found_in(tmp_path, planted["SHORT"], "lines") == []  # the worker's own log among it
