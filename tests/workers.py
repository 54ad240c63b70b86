"""A real Prefect worker, which takes the runs of the deployments of ``prestow deploy``; it is stopped by its own ID."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas import SetStateStatus
from prefect.client.schemas.objects import FlowRun

from flows.local_server.ensure import Server
from tests.prefect_records import client, ended, until

_PATIENCE = 30


@dataclass(frozen=True)
class Worker:
    """A running worker."""

    log: Path
    pid: int

    def run(self, deployment: str, **parameters: object) -> UUID:
        """Create a run of a deployment, wait for its end, and give its ID if it completed."""
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(found.id, parameters=parameters)
        last = self._ended(run.id)
        assert last.state is not None
        assert last.state.is_completed(), f"{last.state}\n{self.log.read_text()}"
        return run.id

    def _ended(self, run: UUID) -> FlowRun:
        try:
            return ended(run)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()}") from None


@contextmanager
def worker(python: Path | str, environment: Mapping[str, str], log: Path, pool: str = "prestow") -> Iterator[Worker]:
    """Run ``prefect worker start`` with an interpreter, from ``/``, for as long as the block lasts."""
    # Prefect turns SIGTERM into SIGINT, which a job in the background of a script inherits as ignored.
    command = ["env", "--default-signal=INT", str(python), "-m", "prefect", "worker", "start", "--pool", pool]
    any_store = {"PRESTOW_DEPLOYED_HOMES": '["/"]'}  # each test has its own
    quick = {**any_store, **environment, "PREFECT_WORKER_QUERY_SECONDS": "0.2"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd="/", env=quick, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Worker(log, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def without_prefect() -> dict[str, str]:
    """Return the environment of the tests without what they told their own process of Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PRESTOW_"))}
    return {**kept, "PRESTOW_COLD": "1"}


def created(deployment: str = "pull/pull", *, at: Server | None = None, **parameters: Any) -> UUID:
    """Create a run of a deployment, which a worker will take, and give its ID."""
    with client(at) as api:
        found = api.read_deployment_by_name(deployment)
        return api.create_flow_run_from_deployment(found.id, parameters=parameters).id


def suspended(run: UUID) -> FlowRun:
    """Wait until a run is suspended for a person, and give it."""

    def waiting() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(run)
        return [found] if found.state_name == "Suspended" else []

    return until(waiting, 1, f"{run} to wait")[0]


def answer(run: UUID, decision: str, **values: str) -> None:
    """Answer for the person, as soon as the API takes an answer: Prefect saves the form after the state."""

    def taken() -> list[SetStateStatus]:
        with get_client(sync_client=True) as client:
            status = client.resume_flow_run(run, run_input={"decision": decision, **values}).status
        return [status] if status == SetStateStatus.ACCEPT else []

    until(taken, 1, f"{run} to take an answer")


def process_of(run: UUID) -> list[int]:
    """Return the process that executes a run: it has the run's ID in its environment."""
    return processes_with(f"PREFECT__FLOW_RUN_ID={run}")


def processes_with(variable: str) -> list[int]:
    """Return the processes that have a variable, ``NAME=value``, in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes()
        except OSError:
            continue
        if variable.encode() in variables.split(b"\0"):
            found.append(int(folder.name))
    return found
