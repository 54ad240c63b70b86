"""Verbs that run a flow: their answers, their exit statuses, and no traceback for what can be expected."""

import os
import re
import signal
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)

from flows.cli.interruption import SENTENCE
from flows.forms.markdown import size
from prestow.store.node import open_node
from tests.flows.cli.conftest import Called, Prestow, opened
from tests.image_factory import demo_layers, write_image
from tests.prefect_records import log_lines, runs_of, until
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")

PULLED = {
    "name", "digest", "manifest_digest", "platform", "chain_id", "checkpoint", "layers", "fetched_bytes",
    "reused_bytes", "seconds", "foreseen", "handed_over",
}  # fmt: skip
EVIL = "\x1b[2J\x07"
LAYER = {"digest", "media_type", "size", "diff_id", "chain_id", "fetched_bytes", "state", "missing_bytes"}


def test_a_pull_answers_in_one_json_document_and_the_second_one_says_what_was_here(
    prestow: Prestow, called: Called, demo_layout: Path
) -> None:
    first = prestow("pull", f"oci:{demo_layout}:demo", "--json", "--progress", "plain")

    assert first.status == 0
    assert set(first.document) == PULLED
    assert all(set(layer) == LAYER for layer in first.document["layers"])
    assert first.document["checkpoint"] == "tagged"
    said = first.err.splitlines()
    assert said
    assert [line for line in said if not line.startswith(("fetch ", "apply sha256:", "commit snapshots sha256:"))] == []

    again = called("pull", f"oci:{demo_layout}:demo")

    assert (again.status, again.out.splitlines()[0].split()[0]) == (0, "localhost/demo:latest")
    assert "all of it was here" in again.out.splitlines()[-1]


def test_a_pull_stops_where_it_is_told(called: Called, demo_layout: Path) -> None:
    done = called("pull", f"oci:{demo_layout}:demo", "--stop-after", "layer-stored", "--name", "team/app:1", "--json")

    assert (done.document["checkpoint"], done.document["name"]) == ("layer-stored", "docker.io/team/app:1")
    assert called("images", "--json").document == []


def test_a_pull_that_stops_early_claims_no_layer_that_is_not_here(called: Called, demo_layout: Path) -> None:
    resolved, stored = (
        called("pull", f"oci:{demo_layout}:demo", "--stop-after", checkpoint).out.splitlines()
        for checkpoint in ("resolved", "manifest-stored")
    )

    assert [line.split()[0] for line in resolved] == ["localhost/demo:latest", "resolved:"]
    assert [line.split()[3:] for line in stored[2:-1]] == [["missing", "-"]] * 3


@pytest.mark.long
def test_a_failure_is_one_sentence_here_and_a_log_with_everything_at_the_api(
    prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:absent"

    done = prestow("pull", reference)

    assert (done.status, done.out) == (3, "")
    assert done.err.splitlines()[-1].startswith("prestow: ")
    assert "Traceback" not in done.err
    assert [line for line in done.err.splitlines()[:-1] if not line.startswith("resolve ")] == []
    assert logged(f"pull {reference}", "Traceback")


@pytest.mark.long
def test_a_pull_that_waits_for_another_process_says_so_here_and_in_its_log(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    layer = called("pull", reference, "--stop-after", "manifest-stored", "--json").document["layers"][0]["digest"]
    said = f"waiting for ingest layer-{layer}, which is in use by process {os.getpid()}"

    with open_node(prestow.home).content.writer(f"layer-{layer}") as held, prestow.start("pull", reference) as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if line.startswith("waiting for"))
        held.close()
        process.communicate()

    assert (told, process.returncode) == (f"{said}\n", 0)
    assert logged(f"pull {reference}", said)


@pytest.mark.long
def test_a_pull_that_was_killed_while_a_person_was_asked_is_known_as_crashed_and_the_next_one_goes_on(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    with prestow.start("pull", reference, "--hold-after", "layer-applied") as process:
        assert process.stderr is not None
        assert any("Approve or refuse in the Prefect UI" in line for line in process.stderr)
        process.kill()

    assert called("pull", reference, "--json").document["fetched_bytes"] == 0
    assert sorted(map(str, ends(f"pull {reference}"))) == ["Completed", "Crashed"]


def logged(name: str, word: str) -> list[str]:
    """Wait until the API has something in the log of the last flow run of that name, and give it."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))

    def found() -> list[str]:
        with get_client(sync_client=True) as client:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(str(run.id)) for run in runs])))
        return [log.message for log in logs if word in log.message]

    return until(found, 1, f"{word} in the log of {name}")


def ends(name: str) -> list[str | None]:
    """Return the states of the flow runs of that name."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return [run.state_name for run in runs]


@pytest.mark.long
def test_who_asks_prefect_for_its_log_gets_it(prestow: Prestow, home: Path) -> None:
    done = prestow("bundle", "absent", "d", env={"PREFECT_LOGGING_LEVEL": "INFO"})

    assert done.status == 3
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("prestow: image docker.io/library/absent:latest")


@pytest.mark.parametrize(
    ("env", "status", "said"),
    [
        ({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, 8, "http://127.0.0.1:1/api does not answer"),
        pytest.param({"PREFECT_API_AUTH_STRING": "some:body"}, 7, "PREFECT_API_AUTH_STRING", marks=pytest.mark.long),
    ],
)
def test_an_api_that_cannot_be_used_is_said_in_one_line(
    prestow: Prestow, env: dict[str, str], status: int, said: str
) -> None:
    done = prestow("prune", env=env)

    assert (done.status, done.out, done.err.count("\n")) == (status, "", 1)
    assert said in done.err


def test_a_bundle_is_made_listed_and_removed(called: Called, tmp_path: Path, demo_layout: Path) -> None:
    place = tmp_path / "bundle"

    made = called(
        "bundle", f"oci:{demo_layout}:demo", str(place), "--id", "one", "--pull", "missing", "--json"
    ).document

    assert set(made) == {"id", "image", "digest", "directory", "driver", "warnings", "seconds"}
    assert (place / "config.json").exists()
    assert (place / "rootfs/etc/motd").exists()
    assert [(c["id"], c["bundle"]) for c in called("containers", "--json").document] == [("one", str(place))]
    assert "one" in called("containers").out
    assert called("containers", "rm", "one").out == "removed one\n"
    assert called("containers", "--json").document == []


def test_a_run_ends_with_the_status_of_its_process_and_leaves_it_standard_output(
    prestow: Prestow, called: Called, demo_layout: Path
) -> None:
    called("pull", f"oci:{demo_layout}:demo")

    plain = prestow("run", "--rm", "demo", "exit", "7")
    answered = called("run", "--rm", "--json", "demo", "--", "exit", "8")

    assert (plain.status, plain.out) == (7, "Hello from a prestowed image.\n")
    assert (answered.status, answered.document["status"], answered.document["removed"]) == (8, 8, True)
    assert "Hello from a prestowed image." in answered.err


def test_a_run_that_does_not_come_to_its_process_ends_with_125(called: Called, demo_layout: Path) -> None:
    absent = called("run", "--pull", "never", "absent")
    unknown = called("run", "--rm", "--user", "nobody-here", f"oci:{demo_layout}:demo")

    assert [(done.status, done.out) for done in (absent, unknown)] == [(125, "")] * 2
    assert "nobody-here" in unknown.err.splitlines()[-1]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"Entrypoint": [EVIL]}, id="program"),
        pytest.param({"Entrypoint": [f"/{EVIL}"]}, id="path of the program"),
        pytest.param({"Cmd": ["/x"], "WorkingDir": f"/etc/motd/{EVIL}"}, id="working directory"),
        pytest.param({"Cmd": ["x"], "Env": [f"PATH=/{EVIL}"]}, id="variable"),
        pytest.param({"Cmd": ["/x"], "User": EVIL}, id="user"),
        pytest.param({"Cmd": ["/x"], "User": f"1:{EVIL}"}, id="group"),
        pytest.param({"Cmd": ["/x"], "Volumes": {f"/etc/motd/{EVIL}": {}}}, id="volume"),
    ],
)
def test_why_a_container_did_not_start_moves_no_cursor(
    called: Called, tmp_path: Path, config: dict[str, object]
) -> None:
    write_image(tmp_path / "layout", demo_layers("amd64"), config=config)

    done = called("run", "--rm", f"oci:{tmp_path}/layout:test")

    assert done.status == 125
    assert not {"\x1b", "\x07", "\r"} & set(done.err)
    assert done.err.splitlines()[-1].startswith("prestow: ")


@pytest.mark.long
def test_a_container_that_runs_is_not_removed(prestow: Prestow, called: Called, waiting_layout: Path) -> None:
    with prestow.start("run", "--id", "busy", f"oci:{waiting_layout}:waiting") as process:
        writer = opened(prestow.home, "busy")

        refused = called("containers", "rm", "busy")

        os.write(writer, b"at last\n")
        os.close(writer)
        out, _ = process.communicate()

    assert (refused.status, refused.out, refused.err.count("\n")) == (6, "", 1)
    assert "busy is running; `prestow containers stop busy`" in refused.err
    assert (process.returncode, out) == (0, "at last\n")
    assert called("containers", "rm", "busy").status == 0


def until_running(called: Called) -> str:
    """Wait until a container runs; gives the table that says so."""
    return until(lambda: [out] if "running" in (out := called("containers").out) else [], 1, "a running container")[0]


def test_a_container_that_runs_is_stopped(prestow: Prestow, called: Called, waiting_layout: Path) -> None:
    with prestow.start("run", "--id", "busy", f"oci:{waiting_layout}:waiting") as process:
        listed = until_running(called)

        first = called("containers", "stop", "busy", "--grace", "0")
        process.communicate()
    again = called("containers", "stop", "busy", "--json")

    assert listed.split()[:2] == ["ID", "IMAGE"]
    assert (first.status, first.out) == (0, "stopped busy\n")
    assert process.returncode == 128 + signal.SIGKILL
    assert (again.status, again.document) == (0, {"id": "busy", "was_running": False})
    assert [c["status"] for c in called("containers", "--json").document] == ["stopped"]
    assert called("containers", "stop", "nobody").status == 3


@pytest.mark.long
@pytest.mark.parametrize("remove", [True, False])
def test_a_container_whose_run_is_killed_is_told_of_and_with_rm_ended_and_removed(
    prestow: Prestow,
    called: Called,
    waiting_layout: Path,
    remove: bool,  # noqa: FBT001 - a table's column
) -> None:
    options = ["--rm"] if remove else []
    with prestow.start("run", *options, "--id", "lost", f"oci:{waiting_layout}:waiting") as process:
        until_running(called)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)

    shown = called("containers", "--json").document
    doctor = called("doctor", "--json").document
    foreseen = called("prune", "--dry-run", "--json")
    pruned = called("prune", "--json")
    left = called("containers", "--json").document
    verified, page = called("fsck", "--all", "--json"), called("fsck", "--all")

    assert [c["status"] for c in shown] == ["orphaned"]
    assert "default/lost" in {check["check"]: check["found"] for check in doctor["checks"]}["containers"]
    (orphan,) = foreseen.document["orphaned"]
    assert (orphan["namespace"], orphan["id"]) == ("default", "lost")
    assert ("prestow prune" if remove else "prestow containers stop lost") in orphan["what"]
    assert f"container default/lost: {orphan['what']}" in foreseen.err
    assert pruned.status == verified.status == page.status == 0
    assert pruned.document["orphaned"] == verified.document["orphaned"] == ([] if remove else [orphan])
    assert (orphan["what"] in page.out, orphan["what"] in pruned.err) == (not remove, not remove)
    if remove:
        assert "container lost: its run was killed, so it was ended and removed now" in pruned.err
        assert left == []
        assert not (prestow.home / "runtime/lost").exists()
    else:
        assert [c["status"] for c in left] == ["orphaned"]
        run = runs_of("prune", str(prestow.home))[0]
        assert log_lines(run.id, "container default/lost: ") == [f"container default/lost: {orphan['what']}"]
        assert called("containers", "stop", "lost", "--grace", "0").out == "stopped lost\n"


def test_of_several_images_one_that_fails_stops_no_other(
    called: Called, demo_layout: Path, fault_registry: FaultRegistry
) -> None:
    done = called("prepull", f"oci:{demo_layout}:demo", f"{fault_registry.own}/demo:absent", "--json")

    assert done.status == 1
    assert [image["error"] is None for image in done.document["images"]] == [True, False]
    assert "absent" in done.err.splitlines()[-1]
    assert called("images", "inspect", "demo").status == 0


def test_prune_frees_what_it_said(called: Called, demo_layout: Path, home: Path) -> None:
    called("pull", f"oci:{demo_layout}:demo")
    called("images", "rm", "demo")
    told = called("prune", "--dry-run", "--json").document

    done = called("prune", "--json").document

    assert done == {**told, "dry_run": False}
    assert open_node(str(home)).snapshots() == []
    assert called("prune").out == "freed 0 B\n"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, -signal.SIGTERM, marks=pytest.mark.long)],
)
def test_a_signal_ends_a_pull_that_waits_and_the_next_one_goes_on_from_there(
    prestow: Prestow, called: Called, fault_registry: FaultRegistry, number: int, status: int
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    layer = called("pull", reference, "--stop-after", "manifest-stored", "--json").document["layers"][0]["digest"]
    fault_registry.on(f"/blobs/{layer}", Fault(drop_after=300), times=1)
    fault_registry.on(f"/blobs/{layer}", Fault(silent=True))

    with prestow.start("pull", reference) as process:
        while len(fault_registry.requests(layer)) < 2 and process.poll() is None:
            fault_registry.ended.wait(0.02)
        process.send_signal(number)
        out, err = process.communicate()
    fault_registry._rules.clear()
    again = called("pull", reference, "--json")

    told = "".join(line for line in err.splitlines(keepends=True) if not line.startswith(("fetch ", "apply ")))
    assert (process.returncode, out, told) == (status, "", f"prestow: {SENTENCE}\n")
    assert sorted(ends(f"pull {reference}")) == ["Cancelled", "Completed", "Completed"]
    assert again.document["checkpoint"] == "tagged"
    assert [seen.headers.get("Range") for seen in fault_registry.requests(layer)] == [None, "bytes=300-", "bytes=300-"]


def test_a_dry_run_prints_what_a_pull_would_do(prestow: Prestow, called: Called, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    quota = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"}
    fault_registry.on("/manifests/", Fault(headers=quota))

    page = prestow("pull", "--dry-run", reference, env={"PREFECT_LOGGING_LEVEL": "INFO"})
    document = called("pull", "--dry-run", reference, "--json").document

    lines = page.out.splitlines()
    fetch = size(document["foreseen"]["fetch_bytes"])
    assert lines[0] == f"{reference} @ {document['digest']}"
    assert [line.split() for line in lines[1:3]] == [["server", fault_registry.domain], ["platform", "linux/amd64"]]
    assert [line.split()[0] for line in lines[4:7]] == [layer["digest"] for layer in document["layers"]]
    assert [line.split()[3] for line in lines[4:7]] == ["missing"] * 3
    assert lines[7] == f"would fetch {fetch}, reuse 0 B"
    assert re.fullmatch(r"needs about [0-9.]+ [KM]iB of the disk, [0-9.]+ .iB are free", lines[8])
    assert lines[9] == "the registry has 76 of 100 requests left within 6 h 00 min"
    assert called("images", "--json").document == []
    (run,) = runs_of("pull", str(prestow.home))[1:]
    assert log_lines(run.id, "would fetch") == [lines[7]]
