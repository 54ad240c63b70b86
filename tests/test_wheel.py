"""The wheel, as a user has it: installed into its own environment, used from ``/``, beside foreign packages."""

import ast
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from flows.cli.verbs import VERBS
from tests.wheels import FOREIGN, NAMES, ROOT, Installed, build

EVERYTHING = """
import importlib, pkgutil, sys
import prestow
for found in pkgutil.walk_packages(prestow.__path__, "prestow."):
    if not found.name.endswith(".__main__"):
        importlib.import_module(found.name)
print(*(name for name in sys.modules if name.split(".")[0] in ("config", "flows", "tasks")))
print(sum(name.startswith("prestow._project.flows.cli.") for name in sys.modules))
"""

IMPORTED_ALONE = f"""
import importlib
import prestow.flows
for name in {NAMES}:
    try:
        importlib.import_module(name)
    except RuntimeError as error:
        print(error)
"""


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def python(installed: Installed, program: str) -> "subprocess.CompletedProcess[str]":
    command = [installed.python, "-c", program]
    return subprocess.run(
        command, cwd="/", env=installed.environment, check=False, capture_output=True, text=True
    )  # fmt: skip


def test_the_wheel_puts_nothing_but_prestow_at_the_top(installed: Installed) -> None:
    tops = {name.split("/")[0] for name in contents(installed.wheel)}

    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"prestow"}


def test_the_wheel_names_the_module_in_which_prefect_looks_for_blocks(installed: Installed) -> None:
    (entry_points,) = [name for name in contents(installed.wheel) if name.endswith(".dist-info/entry_points.txt")]

    with zipfile.ZipFile(installed.wheel) as archive:
        text = archive.read(entry_points).decode()

    assert "[prefect.collections]\nprestow = prestow.blocks\n" in text
    assert "prestow/blocks.py" in contents(installed.wheel)


def test_the_wheel_carries_the_project_and_none_of_its_tests(installed: Installed) -> None:
    carried = {name.split("/")[2] for name in contents(installed.wheel) if name.startswith("prestow/_project/")}

    assert carried == {"__init__.py", "config", "tasks", "flows", "deployments"}
    assert (installed.project / "deployments/prefect.yaml").read_bytes() == (
        ROOT / "deployments/prefect.yaml"
    ).read_bytes()
    assert "prestow/py.typed" in contents(installed.wheel)


def test_the_installed_wheel_has_its_manual_and_completes(installed: Installed, tmp_path: Path) -> None:
    page = (installed.folder / "share/man/man1/prestow-pull.1").read_text("utf-8")

    assert page.startswith(".TH PRESTOW\\-PULL 1")
    assert "complete -F _prestow prestow" in installed.run("completion", "bash", home=tmp_path / "store")


@pytest.mark.long
def test_the_sdist_builds_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    (source,) = tmp_path.glob("prestow-*")

    assert contents(build(source, "wheel", tmp_path / "wheel")) == contents(installed.wheel)


def test_no_module_of_the_wheel_imports_one_at_the_top(installed: Installed) -> None:
    bare = {}
    with zipfile.ZipFile(installed.wheel) as archive:
        for name in archive.namelist():
            tree = ast.parse(archive.read(name)) if name.endswith(".py") else ast.Module([], [])
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
            modules = [str(i.module) if isinstance(i, ast.ImportFrom) else a.name for i in imports for a in i.names]
            bare[name] = [module for module in modules if module.split(".")[0] in NAMES]

    assert {name: modules for name, modules in bare.items() if modules} == {}


@pytest.mark.long
def test_every_module_of_the_wheel_can_be_imported(installed: Installed) -> None:
    done = python(installed, EVERYTHING)

    top, verbs = done.stdout.splitlines()
    assert (top, int(verbs) > len(VERBS)) == ("", True), done.stderr


@pytest.mark.long
def test_the_command_does_its_work_beside_foreign_packages(
    installed: Installed, demo_layout: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"

    try:
        pulled = installed.run("pull", f"oci:{demo_layout}:demo", "--json", home=store, api={"PRESTOW_COLD": "0"})
        complaints = (store / "warm/process.log").read_text()  # of a module that was not found, above all
    finally:
        installed.run("warm", "stop", home=store)
        installed.run("server", "stop", home=store)

    assert (json.loads(pulled)["checkpoint"], complaints) == ("tagged", "")
    assert [image["name"] for image in json.loads(installed.run("images", "--json", home=store))] == [
        "localhost/demo:latest"
    ]


def test_a_verb_that_only_reads_imports_no_prefect(installed: Installed, tmp_path: Path) -> None:
    program = f"import sys; from prestow.__main__ import main; sys.argv[1:] = ['images', '--home', '{tmp_path}/store']"
    done = python(installed, f"{program}; main(); print(sorted({{'prefect', 'pydantic', 'httpx'}} & set(sys.modules)))")

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.long
def test_packages_of_others_stay_theirs(installed: Installed) -> None:
    done = python(installed, IMPORTED_ALONE)

    assert done.stdout.splitlines() == [f"this is the foreign {name}" for name in NAMES], done.stderr


def test_uninstalling_the_foreign_config_leaves_ours(installed: Installed, tmp_path: Path) -> None:
    installed.uninstall(FOREIGN)
    try:
        gone = python(installed, "import config")
        listed = installed.run("images", "--json", home=tmp_path / "store")
    finally:
        installed.install(installed.foreign)

    assert "No module named 'config'" in gone.stderr
    assert json.loads(listed) == []


def test_uninstalling_ours_leaves_the_foreign_config(installed: Installed) -> None:
    installed.uninstall("prestow")
    try:
        foreign = python(installed, "import config")
    finally:
        installed.install(installed.wheel)

    assert "this is the foreign config" in foreign.stderr
