"""Laws of the house that no linter knows: what may be called how, who may read what, and how long a body may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from prestow.checkpoints import STEPS
from prestow.store.node import open_node

ROOT = Path(__file__).parent.parent
OURS = ("config", "prestow", "tasks", "flows")
TASK_LINES, FLOW_LINES = 15, 40
FILE_LINES, TEST_FILE_LINES = 300, 400
WITHOUT_CHECKPOINT = {"check_login", "fsck", "sweep", "wave"}
"""Steps that are no lifecycle point of an image."""
FLOWS = ("bundle", "check_credentials", "fleet", "fsck", "hand_over", "prepull", "prune", "pull", "run")
READS_THE_ENVIRONMENT = ("config/", "flows/cli/", "flows/local_server/launcher.py", "flows/warm/")
READING_ROOMS = (
    "checkpoints", "content", "digest", "errors", "gc", "layers", "metadata", "oci", "platforms", "reference",
)  # fmt: skip
HEAVY = ("prefect", "pydantic", "httpx")


def files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def where(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def functions(file: Path) -> dict[str, ast.FunctionDef]:
    """The functions at the top level of a file."""
    return {node.name: node for node in tree(file).body if isinstance(node, ast.FunctionDef)}


def decorated(file: Path, decorator: str) -> Iterator[ast.FunctionDef]:
    """The functions of a file that are wrapped by a decorator, called or not."""
    for function in functions(file).values():
        names = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
        if any(isinstance(name, ast.Name) and name.id == decorator for name in names):
            yield function


def body_lines(function: ast.FunctionDef) -> int:
    """The lines of a body, from the first statement that is no docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def modules(package: str) -> list[str]:
    """The modules of a package of the engine, or the one that it is."""
    folder = ROOT / "prestow" / package
    found = files(f"prestow/{package}") if folder.is_dir() else [folder.with_suffix(".py")]
    return [where(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in found]


def imported(program: str) -> set[str]:
    """What is imported at the end of a program in a process of its own."""
    program = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules))); {program}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stderr.split())


def test_no_file_that_prefect_loads_by_its_path_has_the_name_of_a_module() -> None:
    # Prefect loads flows/pull.py as `pull`, with flows/ first on the path.
    taken = {*sys.stdlib_module_names, *packages_distributions(), *OURS, "tests", "deployments"}
    ours = {file.stem for file in (ROOT / "flows").iterdir() if not file.name.startswith("__")}

    assert ours & taken == set()


def test_files_are_called_by_what_they_are_about() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}

    assert [
        where(file) for file in files(*OURS, "tests") if vague & set(file.relative_to(ROOT).with_suffix("").parts)
    ] == []


def test_each_step_is_a_task_file_with_an_engine_function_and_a_checkpoint() -> None:
    steps = {file.stem: [step.name for step in decorated(file, "step")] for file in files("tasks")}
    steps = {stem: names for stem, names in steps.items() if names}
    engine = {name for file in files("prestow") for name in functions(file)}

    assert steps == {word: [word] for word in {*STEPS, *WITHOUT_CHECKPOINT}}
    assert set(STEPS) - engine == set()


def test_each_step_is_part_of_a_flow() -> None:
    wired = {
        node.module
        for name in FLOWS
        for node in ast.walk(tree(ROOT / f"flows/{name}.py"))
        if isinstance(node, ast.ImportFrom)
    }

    assert {f"tasks.{word}" for word in {*STEPS, *WITHOUT_CHECKPOINT}} - wired == set()


def test_a_step_calls_no_other_step() -> None:
    # Prefect writes the record of a nested step only when the outer one ends.
    calls = [
        f"{where(file)}: {node.module}"
        for file in files("tasks")
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and str(node.module).removeprefix("tasks.") in {*STEPS, *WITHOUT_CHECKPOINT}
    ]

    assert calls == []


def test_a_flow_file_holds_one_flow_and_nothing_else() -> None:
    found = {
        name: [
            type(node).__name__ for node in tree(ROOT / f"flows/{name}.py").body if not isinstance(node, ast.ImportFrom)
        ]
        for name in FLOWS
    }

    assert found == {name: ["Expr", "FunctionDef"] for name in FLOWS}
    assert [function.name for name in FLOWS for function in decorated(ROOT / f"flows/{name}.py", "flow")] == list(FLOWS)


def test_bodies_of_steps_and_flows_are_short() -> None:
    steps = {where(file): body_lines(step) for file in files("tasks") for step in decorated(file, "step")}
    flows = {name: body_lines(flow) for name in FLOWS for flow in decorated(ROOT / f"flows/{name}.py", "flow")}

    assert {name: lines for name, lines in steps.items() if lines > TASK_LINES} == {}
    assert {name: lines for name, lines in flows.items() if lines > FLOW_LINES} == {}


def test_files_are_short() -> None:
    lengths = {where(file): len(file.read_bytes().splitlines()) for file in files(*OURS, "tests")}

    assert {
        name: lines
        for name, lines in lengths.items()
        if lines > (TEST_FILE_LINES if name.startswith("tests/") else FILE_LINES)
    } == {}


def test_docstrings_begin_as_python_s_own_do() -> None:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        f"{where(file)}:{node.lineno}"
        for file in files(*OURS)
        for node in ast.walk(tree(file))
        if isinstance(node, definitions) and (ast.get_docstring(node) or "").startswith(("Give ", "Tell "))
    ]

    assert found == [], "write: Return …, Yield …, Whether …"


def test_the_environment_is_read_at_the_edge_only() -> None:
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    reads = [
        f"{where(file)}:{node.lineno}"
        for file in files(*OURS)
        if not where(file).startswith(READS_THE_ENVIRONMENT)
        for node in ast.walk(tree(file))
        if (isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", "") == "os")
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names})
    ]

    assert reads == []


@pytest.mark.parametrize("room", READING_ROOMS)
def test_a_room_names_no_heavy_package(room: str) -> None:
    folder = ROOT / "prestow" / room
    found = files(f"prestow/{room}") if folder.is_dir() else [folder.with_suffix(".py")]
    named = {
        name.split(".")[0]
        for file in found
        for node in ast.walk(tree(file))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom)
            else []
        )
    }  # fmt: skip

    assert named & {*HEAVY, "config"} == set()


def test_reading_imports_nothing_heavy() -> None:
    rooms = [module for room in READING_ROOMS for module in modules(room)]

    assert imported(f"import {', '.join([*rooms, 'flows.cli.main'])}") & set(HEAVY) == set()


@pytest.mark.parametrize("verb", [["images"], ["snapshots"], ["containers"], ["server", "status"], ["in-use"]])
def test_verbs_that_read_import_nothing_heavy(verb: list[str], tmp_path: Path) -> None:
    main = f"from flows.cli.main import main; main({[*verb, '--json', '--home', str(tmp_path / 'store')]!r})"

    assert imported(main) & set(HEAVY) == set()


def test_the_version_is_asked_of_no_verb_and_no_store() -> None:
    found = imported("from flows.cli.main import main; main(['--version'])")

    assert {name for name in found if name.startswith("flows.cli.")} == {
        f"flows.cli.{name}" for name in ("arguments", "main", "output", "parsing", "showing", "verbs")
    }
    assert found & {"prestow.store", "dataclasses", "json", "shutil"} == set()


def test_asking_containerd_imports_no_other_runtime_and_no_step(tmp_path: Path) -> None:
    asking = ["in-use", "--runtime", "containerd", "--home", str(tmp_path / "store")]

    found = imported(f"from flows.cli.main import main; main({asking})")

    assert "grpc" in found
    assert found & {"prestow.handover.podman.runtime", "tasks"} == set()


def test_a_tab_opens_no_store_to_answer() -> None:
    typed = ["completion", "bash", "--typed", "prestow images inspect gh"]

    found = imported(f"from flows.cli.main import main; main({typed})")

    assert "prestow.metadata.glance" in found
    assert found & {*HEAVY, "prestow.store", "prestow.metadata.database", "dataclasses"} == set()


def test_a_list_of_images_imports_no_more_than_it_shows(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    open_node(store).images.list()  # whose database is filled from the disk at first

    found = imported(f"from flows.cli.main import main; main(['images', '--home', {store!r}])")

    assert "prestow.metadata.images" in found
    assert found & {
        "prestow.content.ingest", "prestow.content.plan", "prestow.metadata.leases", "prestow.snapshots",
    } == set()  # fmt: skip
    assert found & {"logging", "secrets", "shutil", "socket", "subprocess", "tomllib", "uuid"} == set()


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    assert {name for name in imported("import prestow") if name.split(".")[0] in OURS} == {"prestow"}


def test_the_engine_works_without_prefect() -> None:
    every = [module for module in modules("") if module not in ("prestow.__main__", "prestow.blocks", "prestow.flows")]

    assert len(every) > len(READING_ROOMS)
    assert "prefect" not in imported(f"import {', '.join(every)}")
