"""The wheel, as a user has it: installed into its own environment, used from ``/``, beside a foreign ``config``."""

import json
import subprocess
import zipfile
from pathlib import Path

from tests.wheels import FOREIGN, ROOT, Installed, build

WHERE = """
from prestow.project import activate; activate()
from flows.pull import pull
import config, flows, tasks.tag
print(pull.name, config.__file__, flows.__file__, tasks.tag.__file__)
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

    assert {top for top in tops if not top.endswith(".dist-info")} == {"prestow"}


def test_the_wheel_carries_the_project_and_none_of_its_tests(installed: Installed) -> None:
    carried = {name.split("/")[2] for name in contents(installed.wheel) if name.startswith("prestow/_project/")}

    assert carried == {"config", "tasks", "flows", "deployments"}
    assert (installed.project / "deployments/prefect.yaml").read_bytes() == (
        ROOT / "deployments/prefect.yaml"
    ).read_bytes()
    assert "prestow/py.typed" in contents(installed.wheel)


def test_the_sdist_builds_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    sdist = build(ROOT, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    (source,) = tmp_path.glob("prestow-*")

    assert contents(build(source, "wheel", tmp_path / "wheel")) == contents(installed.wheel)


def test_the_command_does_its_work_beside_a_foreign_config(
    installed: Installed, demo_layout: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"

    try:
        pulled = installed.run("pull", f"oci:{demo_layout}:demo", "--json", home=store)
    finally:
        installed.run("server", "stop", home=store)

    assert json.loads(pulled)["checkpoint"] == "tagged"
    assert [image["name"] for image in json.loads(installed.run("images", "--json", home=store))] == [
        "localhost/demo:latest"
    ]


def test_a_program_that_installed_the_wheel_imports_our_flows_and_not_a_foreign_config(installed: Installed) -> None:
    foreign = python(installed, "import config")
    ours = python(installed, WHERE)

    assert "this is the foreign config" in foreign.stderr
    name, *files = ours.stdout.split()
    assert name == "pull"
    assert all(Path(file).is_relative_to(installed.project) for file in files)


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
