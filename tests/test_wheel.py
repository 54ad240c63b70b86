"""The wheel, as a user has it: installed into its own environment, used from ``/``, beside a foreign ``config``."""

import json
import subprocess
import zipfile
from pathlib import Path

from tests.wheels import Installed

ROOT = Path(__file__).parent.parent


def test_the_wheel_puts_nothing_but_prestow_at_the_top(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"prestow"}


def test_the_command_finds_its_own_config_beside_a_foreign_one(
    installed: Installed, demo_layout: Path, tmp_path: Path
) -> None:
    (installed.site_packages / "config").mkdir(exist_ok=True)
    (installed.site_packages / "config/__init__.py").write_text("raise RuntimeError('a foreign config')")

    listed = installed.run("images", "--json", home=tmp_path / "store")
    pulled = installed.run("pull", f"oci:{demo_layout}:demo", "--json", home=tmp_path / "store")
    installed.run("server", "stop", home=tmp_path / "store")

    assert json.loads(listed) == []
    assert json.loads(pulled)["checkpoint"] == "tagged"


def test_a_program_that_installed_the_wheel_calls_a_flow(installed: Installed) -> None:
    program = (
        "from prestow.project import activate; activate(); from flows.pull import pull; "
        "import config, flows; print(pull.name, flows.__file__, config.__file__)"
    )

    done = subprocess.run(
        [installed.python, "-c", program],
        cwd="/",
        env=installed.environment,
        check=True,
        capture_output=True,
        text=True,
    )

    name, *files = done.stdout.split()
    assert name == "pull"
    assert all(Path(file).is_relative_to(installed.site_packages / "prestow/_project") for file in files)
