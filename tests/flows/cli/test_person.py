"""``--hold-after`` on a terminal: a question with what it is about; elsewhere, where to answer."""

import os
import pty
import signal
import subprocess
import threading

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from tests.flows.cli.conftest import Prestow
from tests.flows.cli.test_flows import ends
from tests.prefect_records import until
from tests.registries import FaultRegistry
from tests.terminals import everything

pytestmark = pytest.mark.usefixtures("prefect_server")


def on_a_terminal(prestow: Prestow, *arguments: str, typed: str) -> tuple[int, str, str]:
    """Run the command, with a person who has typed something; give status, answer, and what the terminal showed."""
    terminal, end = pty.openpty()
    os.write(terminal, typed.encode())
    with prestow.start(*arguments, env={"TERM": "xterm"}, stdin=end, stderr=end) as process:
        os.close(end)
        shown = everything(terminal)
        out = process.stdout.read() if process.stdout else ""
    return process.returncode, out, shown


@pytest.mark.long
def test_a_person_who_says_yes_lets_it_go_on_and_the_answer_stays_clean(
    prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    arguments = ("pull", f"{fault_registry.own}/demo:demo", "--hold-after", "manifest-stored", "--json")
    status, out, shown = on_a_terminal(prestow, *arguments, typed="what?\ny\n")

    assert (status, out[0]) == (0, "{")
    assert "- entrypoint: `[" in shown
    assert shown.count("Approve?") == 2


@pytest.mark.long
def test_a_person_who_says_no_ends_it_with_the_reason(prestow: Prestow, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    status, out, shown = on_a_terminal(prestow, "pull", reference, "--hold-after", "unpacked", typed="n too large\n")

    assert (status, out) == (130, "")
    assert shown.splitlines()[-1] == "prestow: refused by a person after unpacked: too large"
    assert ends(f"pull {reference}") == ["Cancelled"]


@pytest.mark.long
def test_who_closes_standard_input_is_told_where_else_to_answer(
    prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    terminal, end = pty.openpty()
    os.write(terminal, b"\x04")
    arguments = ("pull", f"{fault_registry.own}/demo:demo", "--hold-after", "resolved")
    with prestow.start(*arguments, env={"TERM": "dumb"}, stdin=end, stderr=end) as process:
        os.close(end)
        with os.fdopen(terminal, errors="replace") as shown:
            assert any(line.startswith("No answer here: approve or refuse in") for line in shown)
            process.terminate()
            process.wait()

    assert process.returncode == -signal.SIGTERM


@pytest.mark.long
def test_without_a_terminal_the_answer_is_expected_in_the_ui(prestow: Prestow, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    name = FlowRunFilter(name=FlowRunFilterName(any_=[f"pull {reference}"]))

    def approve() -> None:
        with get_client(sync_client=True) as client:
            (run,) = until(
                lambda: [r for r in client.read_flow_runs(flow_run_filter=name) if r.state_name == "Paused"], 1, "a run"
            )
            client.resume_flow_run(run.id, run_input={"decision": "approve"})

    threading.Thread(target=approve, daemon=True).start()
    done = prestow("pull", reference, "--hold-after", "resolved", stderr=subprocess.PIPE)

    assert done.status == 0
    assert "Approve or refuse in the Prefect UI: http://" in done.err
