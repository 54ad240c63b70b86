"""A wheel built from this checkout, installed into an environment of its own beside packages that are called like ours.

The foreign ones are of a distribution whose top-level ``config``, ``flows`` and ``tasks`` raise when they are imported.
"""

import os
import site
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).parent / "uv"
FOREIGN = "foreign-settings"
NAMES = ("config", "flows", "tasks")

_FOREIGN_FILES = {
    **{f"{name}/__init__.py": f"raise RuntimeError('this is the foreign {name}')\n" for name in NAMES},
    "foreign_settings-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {FOREIGN}\nVersion: 1.0\n",
    "foreign_settings-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


@dataclass(frozen=True)
class Installed:
    """The environment."""

    wheel: Path
    foreign: Path
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"

    @property
    def site_packages(self) -> Path:
        """Where the wheel is."""
        return next(self.folder.glob("lib/python*/site-packages"))

    @property
    def project(self) -> Path:
        """Where the wheel carries ``flows/`` and its siblings, as packages of ``prestow``."""
        return self.site_packages / "prestow/_project"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead to no checkout."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PRESTOW", "PREFECT"))
        }
        return {**kept, "PRESTOW_COLD": "1", "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def run(self, *arguments: str, home: Path, api: Mapping[str, str] | None = None) -> str:
        """Run the installed command from ``/``, and give its standard output.

        ``api`` holds the variables that name a Prefect API; without it the store's own server is used.
        """
        done = subprocess.run(
            [self.folder / "bin/prestow", *arguments, "--home", str(home)],
            cwd="/", env={**self.environment, **(api or {})}, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout

    def install(self, *wheels: Path) -> None:
        """Install wheels, without what they depend on."""
        subprocess.run([UV, "pip", "install", "-q", "--no-deps", "--python", self.python, *wheels], check=True)

    def uninstall(self, name: str) -> None:
        """Uninstall a distribution."""
        subprocess.run([UV, "pip", "uninstall", "-q", "--python", self.python, name], check=True)


def build(source: Path, target: str, folder: Path) -> Path:
    """Build the ``sdist`` or the ``wheel`` of a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build and install; the dependencies are those of the tests' own environment, without its editable prestow."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, folder / "venv"], check=True)
    found = Installed(build(ROOT, "wheel", folder / "dist"), _foreign(folder), folder / "venv")
    found.install(found.foreign, found.wheel)
    # A path in a .pth file is searched, but .pth files in it are not read: so the editable prestow stays unknown.
    (found.site_packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return found


def _foreign(folder: Path) -> Path:
    """Write the wheel of the foreign package."""
    record = "foreign_settings-1.0.dist-info/RECORD"
    wheel = folder / "foreign_settings-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in _FOREIGN_FILES.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*_FOREIGN_FILES, record]))
    return wheel
