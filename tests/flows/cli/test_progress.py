"""Progress of a pull: on a real terminal, and as an artifact of a real Prefect server."""

import re
import signal
import threading
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.objects import Artifact

from tests.deaf_api import deaf_api
from tests.flows.cli.conftest import Called, Prestow
from tests.prefect_records import runs_of, until
from tests.registries import Fault, FaultRegistry
from tests.screen import screen
from tests.terminals import on_a_terminal

pytestmark = pytest.mark.usefixtures("prefect_server")


def layers(called: Called, reference: str) -> list[str]:
    """Fetch the documents of an image, and return the digests of its layers."""
    document = called("pull", reference, "--stop-after", "manifest-stored", "--json").document
    return [layer["digest"] for layer in document["layers"]]


def test_a_terminal_shows_bars_and_the_answer_stays_clean(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference, drawn = f"{fault_registry.domain}/a/b:demo", threading.Event()
    first, *_ = layers(called, reference)
    fault_registry.on(f"/blobs/{first}", Fault(stall_after=50, until=drawn))
    with on_a_terminal(prestow, "pull", reference, "--json", width=120) as (terminal, process):
        terminal.wait_for(f"fetch layer {first[:19]}")
        drawn.set()
        assert process.stdout is not None
        out = process.stdout.read()
    shown = terminal.text

    assert process.returncode == 0
    assert out.startswith("{")
    assert "\x1b" not in out
    assert f"fetch layer {first[:19]}" in shown
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is shown again


@pytest.mark.long
def test_a_dumb_terminal_gets_plain_lines(prestow: Prestow, demo_layout: Path) -> None:
    with on_a_terminal(prestow, "pull", f"oci:{demo_layout}:demo", term="dumb") as (terminal, process):
        pass

    assert process.returncode == 0
    assert "\x1b" not in terminal.text
    assert "apply sha256:" in terminal.text


def test_the_total_and_each_layer_have_bytes_rate_and_time_left(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    first, *_ = layers(called, reference)
    fault_registry.on(f"/blobs/{first}", Fault(pieces=1))  # for ten seconds at least

    with on_a_terminal(prestow, "pull", reference) as (terminal, process):
        terminal.wait_for(
            rf"layers 2/3 +[━─]+  [0-9]+/[0-9]+ B, [0-9]+ B/s, [0-9]+ s left\s+"
            rf"fetch layer {first[:19]} +[━─]+  [0-9]+/[0-9]+ B, [0-9]+ B/s, [0-9]+ s left"
        )
        process.send_signal(signal.SIGINT)


@pytest.mark.long
def test_without_a_terminal_there_is_a_line_every_few_seconds(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    first, *_ = layers(called, reference)
    fault_registry.on(f"/blobs/{first}", Fault(pieces=1))  # for ten seconds at least

    done = prestow("pull", reference)

    figures = "[0-9]+/[0-9]+ B, [0-9]+ B/s, [0-9]+ s left"
    assert done.status == 0
    assert re.search(rf"^fetch layer {first[:19]}: {figures}$", done.err, re.MULTILINE)
    assert re.search(rf"^layers 2/3: {figures}$", done.err, re.MULTILINE)
    assert re.search(rf"^fetch layer {first[:19]}: [0-9.]+ s, [0-9]+ B$", done.err, re.MULTILINE)


def test_a_wait_that_the_registry_asked_for_is_shown_and_said_once(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    digests = layers(called, reference)
    fault_registry.on("/blobs/", Fault(status=429, headers={"Retry-After": "2"}), times=3)

    with on_a_terminal(prestow, "pull", reference) as (terminal, process):
        terminal.wait_for(r"layers 0/3 +[━─]+  0/[0-9]+ B, waits [123] s")
        for digest in digests:
            terminal.wait_for(rf"fetch layer {digest[:19]} +[━─]+  0/[0-9]+ B, waits [123] s")

    said = [line for line in " ".join(screen(terminal.text, 100)).split("fetch layer ") if "tried again in" in line]
    assert process.returncode == 0
    assert len(said) == 1
    assert "429 Too Many Requests" in said[0]


def artifacts(run: UUID) -> list[Artifact]:
    """Return the progress artifacts of a flow run."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=["progress"]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=wanted)


def described(home: Path, text: str) -> Artifact:
    """Wait until the last pull has an artifact whose description contains a text, and return it."""

    def found() -> list[Artifact]:
        runs = runs_of("pull", str(home))[:1]
        return [each for run in runs for each in artifacts(run.id) if text in (each.description or "")]

    return until(found, 1, f"an artifact with {text!r}")[0]


@pytest.mark.parametrize(
    "ends", ["well", *(pytest.param(how, marks=pytest.mark.long) for how in ("by a signal", "with an error"))]
)
def test_a_pull_that_takes_a_while_has_one_progress_artifact_which_says_how_it_ended(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry, ends: str
) -> None:
    reference, rest = f"{fault_registry.own}/demo:demo", threading.Event()
    first, *_ = layers(called, reference)
    broken = 300 if ends == "with an error" else None
    fault_registry.on(f"/blobs/{first}", Fault(stall_after=300, until=rest, drop_after=broken), times=1)
    fault_registry.on(f"/blobs/{first}", Fault(status=404))

    with prestow.start("pull", reference) as process:
        begun = described(prestow.home, f"- fetch layer `{first[:19]}`: 300/")
        if ends == "by a signal":
            process.send_signal(signal.SIGINT)
        else:
            rest.set()
        process.communicate()
        rest.set()

    assert 0 < float(str(begun.data)) < 100
    assert f"`{reference}`: " in str(begun.description)
    assert ", 2 of 3 layers" in str(begun.description)
    if ends == "well":
        ended = described(prestow.home, "fetched, ended after ")
        assert ended.data == 100
    else:
        ended = described(prestow.home, ": ended at ")
        assert re.search(rf"ended at {begun.data} %, [0-9]+/[0-9]+ B: ", str(ended.description))
        reason = {"by a signal": "interrupted by a person or a signal", "with an error": "404 Not Found"}[ends]
        assert reason in str(ended.description)
    assert ended.id == begun.id
    assert len(artifacts(UUID(str(begun.flow_run_id)))) == 1


def test_an_artifact_says_for_what_a_pull_waits(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    layers(called, reference)
    fault_registry.on("/blobs/", Fault(status=429, headers={"Retry-After": "200"}))

    with prestow.start("pull", reference) as process:
        waiting = str(described(prestow.home, "waits: ").description)
        process.send_signal(signal.SIGINT)
        process.communicate()

    assert "0 of 3 layers" in waiting
    assert re.search(r": 0/[0-9]+ B, waits (1 min|2 min|3 min) [0-9]+ s", waiting)
    assert "answered 429 Too Many Requests" in waiting


def test_a_pull_of_what_is_here_has_no_artifact(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    called("pull", reference)

    assert prestow("pull", reference).status == 0

    assert artifacts(runs_of("pull", str(prestow.home))[0].id) == []


@pytest.mark.long
def test_an_api_that_takes_no_artifact_does_not_fail_the_pull(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference, rest = f"{fault_registry.own}/demo:demo", threading.Event()
    first, *_ = layers(called, reference)
    fault_registry.on(f"/blobs/{first}", Fault(stall_after=300, until=rest))

    with (
        deaf_api(prestow.api["PREFECT_API_URL"], "/artifacts/") as api,
        prestow.start("pull", reference, "--json", env={"PREFECT_API_URL": api.url}) as process,
    ):
        assert api.refused.wait(60)
        rest.set()
        out, _ = process.communicate()

    assert process.returncode == 0
    assert '"checkpoint": "tagged"' in out
    assert [artifacts(run.id) for run in runs_of("pull", str(prestow.home))[:1]] == [[]]
