"""A wheel built from this checkout, installed into an environment of its own."""

import os
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Installed:
    """The environment."""

    wheel: Path
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
    def environment(self) -> dict[str, str]:
        """Variables that lead to no checkout."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PRESTOW", "PREFECT"))
        }
        return {**kept, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def run(self, *arguments: str, home: Path) -> str:
        """Run the installed command from ``/``, and give its standard output."""
        done = subprocess.run(
            [self.folder / "bin/prestow", *arguments, "--home", str(home)],
            cwd="/", env=self.environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build and install; the dependencies are those of the tests' own environment, without its editable prestow."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = (folder / "dist").glob("*.whl")
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder / "venv"], check=True)
    found = Installed(wheel, folder / "venv")
    subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", found.python, wheel], check=True)
    # A path in a .pth file is searched, but .pth files in it are not read: so the editable prestow stays unknown.
    (found.site_packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return found
