"""The forms of an answer: documents, fields, short answers; and errors that programs can read."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.cli.conftest import PROJECT, Called, Prestow
from tests.flows.cli.test_recorded import write_layout
from tests.registries import Fault, FaultRegistry
from tests.terminals import on_a_terminal

PAGE = (PROJECT / "docs/reference/output.md").read_text("utf-8")


@pytest.fixture
def digest(called: Called, tmp_path: Path) -> str:
    """The digest of image ``demo``, which is here, and has a label."""
    write_layout(tmp_path / "layout")
    done = called("pull", f"oci:{tmp_path / 'layout'}:demo", "--name", "demo", "--platform", "linux/amd64", "-q")
    name, _, found = done.out.strip().partition("@")
    assert (done.status, name, done.err) == (0, "docker.io/library/demo:latest", "")
    assert called("images", "label", "demo", "team.name=vision\tx").status == 0
    return found


def test_quiet_leaves_what_a_script_needs(called: Called, digest: str, tmp_path: Path) -> None:
    called("images", "tag", "demo", "again:1")

    assert called("images", "--quiet").out == f"{digest}\n"
    assert called("images", "-q", "--filter", "label=none").out == ""
    assert called("bundle", "demo", str(tmp_path / "box"), "--id", "box", "-q").out == "box\n"
    assert called("containers", "-q").out == "box\n"
    assert called("containers", "rm", "box", "-q").status == 0
    keys = [found["key"] for found in called("snapshots", "--json").document]
    assert called("-q", "snapshots").out.splitlines() == keys


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{name} {digest}", "docker.io/library/demo:latest DIGEST"),
        (r"{{.name}}\t{{ .size }}", "docker.io/library/demo:latest\t17989"),
        ("{platforms} {platforms.0} {artifact_type}.", "linux/amd64 linux/amd64 ."),
        ("{labels.team.name}", r"vision\tx"),
        ("{used_at}", "[0-9.]+"),
    ],
)
def test_a_format_has_fields_of_the_document(called: Called, digest: str, text: str, printed: str) -> None:
    done = called("images", "--format", text)

    wanted = printed.replace("DIGEST", digest)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{wanted}\n" or re.fullmatch(wanted, done.out.strip())


def test_a_format_reaches_into_lists_and_objects(called: Called, digest: str) -> None:
    document = called("images", "inspect", "demo", "--json").document
    layers = [layer["digest"] for layer in document["layers"]]

    done = called("images", "inspect", "demo", "--format", r"{layers.digest}\n{layers.1.size}\n{config.labels}")

    assert done.out.splitlines() == [
        " ".join(layers), str(document["layers"][1]["size"]), json.dumps(document["config"]["labels"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{nam}", "no field 'nam'; those that are there: namespace, name, digest, "),
        ("{name.x}", "no field 'x' in 'docker.io/library/demo:latest'"),
        ("{platforms.9}", "the list has 1 elements"),
        ("name", "expected fields in braces"),
        ("{name} {", "expected fields in braces"),
    ],
)
def test_a_format_with_another_field_is_an_error(called: Called, digest: str, text: str, said: str) -> None:
    done = called("images", "--format", text)

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


@pytest.mark.parametrize(
    ("line", "error", "status", "transient"),
    [
        ("images inspect nothing --json", "NotFoundError", 3, False),
        ("--json bogus", "InvalidError", 2, False),
        ("run --json --pull never nothing", "NotFoundError", 125, False),
        ("pull --json REGISTRY", "UnavailableError", 8, True),
        ("run --json REGISTRY", "UnavailableError", 125, True),
        ("prepull --json oci:/nonexistent", "PrepullError", 1, False),
    ],
)
def test_an_error_is_a_document_for_who_asked_for_one(
    called: Called,
    fault_registry: FaultRegistry,
    line: str,
    error: str,
    status: int,
    transient: bool,  # noqa: FBT001
) -> None:
    fault_registry.on("", Fault(status=503, headers={"Retry-After": "1000"}))

    done = called(*shlex.split(line.replace("REGISTRY", f"{fault_registry.own}:demo")))

    (said,) = done.err.splitlines()
    found = json.loads(said)
    assert done.status == status
    assert list(found) == ["error", "message", "status", "transient"]
    assert (found["error"], found["status"], found["transient"]) == (error, status, transient)
    assert found["message"]


def test_the_environment_chooses_the_progress(called: Called, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_PROGRESS", "none")
    assert called("images").status == 0
    monkeypatch.setenv("PRESTOW_PROGRESS", "many")

    done = called("images")

    assert (done.status, done.err) == (2, "prestow: PRESTOW_PROGRESS: expected auto, plain, none, found 'many'\n")


def test_a_container_of_an_image_that_is_here_has_the_streams_for_itself(called: Called, digest: str) -> None:
    done = called("run", "--rm", "demo")

    assert (done.status, done.out, done.err) == (0, "Hello from a prestowed image.\n", "")


@pytest.mark.long
def test_and_so_it_has_the_terminal(prestow: Prestow, digest: str) -> None:
    with on_a_terminal(prestow, "run", "--rm", "demo") as (terminal, process):
        pass

    assert (process.returncode, terminal.text) == (0, "")


def drops() -> Iterator[tuple[str, ...]]:
    """Yield the columns that each table drops, in order."""
    for file in sorted((PROJECT / "flows/cli").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("table", "listing"):
                for keyword in node.keywords:
                    if keyword.arg == "drop" and isinstance(keyword.value, ast.Tuple):
                        yield ast.literal_eval(keyword.value)


def test_the_order_in_which_columns_are_dropped_is_written_down() -> None:
    found = {", ".join(columns) for columns in drops()}

    assert {columns for columns in found if columns not in PAGE} == set()
    assert len(found) > 10
