"""Warnings of a registry reach the person and the run's log, each once in a pull."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from tests.flows.cli.conftest import Prestow
from tests.prefect_records import log_lines, runs_of
from tests.registries import Fault, FaultRegistry


def test_a_warning_is_said_once_in_the_terminal_and_once_in_the_log(
    prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("", Fault(headers={"Warning": '299 - "this repository moves", 299 - "\x1b[2Jread-only"'}))
    said = [
        f"{fault_registry.domain} warns: this repository moves",
        f"{fault_registry.domain} warns: \\x1b[2Jread-only",
    ]

    for _ in range(2):
        done = prestow("pull", f"{fault_registry.domain}/team/demo:demo")
        assert done.status == 0
        assert [line for line in done.err.splitlines() if "warns" in line] == said

    assert len(fault_registry.seen) > 3
    runs = [run.id for run in runs_of("pull", str(prestow.home))]
    assert len(runs) == 2
    for run in runs:
        log_lines(run, "warns")
        with get_client(sync_client=True) as client:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
        assert sorted(log.message for log in logs if "warns" in log.message) == sorted(said)
