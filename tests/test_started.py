"""A session of tests that starts a program of nowhere fails and says which test did."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.started import ROOT, foreign, program

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="without dpkg nobody can say")

FOREIGN = """
import os, subprocess, pytest

def spawn(name):
    os.waitpid(os.posix_spawnp(name, [name], os.environ), 0)

def replaced(name):
    child = os.fork()
    if child == 0:
        os.execvp(name, [name])
    os.waitpid(child, 0)

@pytest.mark.parametrize(("start", "name"), [
    (lambda name: subprocess.run([name]), "run"), (spawn, "spawn"), (replaced, "exec"), (subprocess.run, "link"),
    (subprocess.run, "script"),
], ids=["run", "spawn", "exec", "link", "script"])
def test_foreign(start, name):
    start(f"tool-{name}")
"""

KNOWN = """
import os, subprocess, sys

def test_known(tmp_path):
    for name in ("true", "/bin/true", "awk", "git", sys.executable):
        subprocess.run([name], stdin=subprocess.DEVNULL)
    written = tmp_path / "written"
    written.write_text("#!/bin/sh")
    written.chmod(0o755)
    subprocess.run(written)
    assert os.system("missing-program") != 0
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with programs of no package, one of them a link and one a script in the language of another."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("run", "spawn", "exec"):
        shutil.copy(shutil.which("true") or "", folder / f"tool-{name}")
    (folder / "tool-link").symlink_to("tool-run")
    (folder / "tool-script").write_text(f"#!{folder}/tool-link\n")
    (folder / "tool-script").chmod(0o755)
    return folder


def session(folder: Path, tests: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run tests in a folder of their own, whose scratch is beside it."""
    scratch = folder / "scratch"
    scratch.mkdir()
    (folder / "test_inner.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]")
    variables = {"PATH": f"{folder}/elsewhere:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    command = [sys.executable, "-m", "pytest", "-p", "tests.started", "-p", "no:cacheprovider", *options, folder]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_programs_of_no_package_fail_the_session(tmp_path: Path, elsewhere: Path, workers: str) -> None:
    done = session(tmp_path, FOREIGN, "-n", workers)

    assert done.returncode == 1, done.stdout
    assert "5 passed" in done.stdout
    for name in ("run", "spawn", "exec", "script"):
        assert f"{elsewhere}/tool-{name} (of no package): test_inner.py::test_foreign[{name}]\n" in done.stdout
    links = "test_inner.py::test_foreign[link], test_inner.py::test_foreign[script]"
    assert f"{elsewhere}/tool-link (of no package): {links}\n" in done.stdout, "also what interprets a script"


def test_programs_of_a_fresh_machine_and_of_tests_do_not(tmp_path: Path) -> None:
    done = session(tmp_path, KNOWN)

    assert done.returncode == 0, done.stdout


def test_a_program_of_a_package_that_is_not_named_is_told_with_it() -> None:
    file = Path("/usr/bin/dpkg-architecture")
    if not file.exists():
        pytest.skip("dpkg-dev, which nothing here needs, is not installed")

    assert foreign([file, Path("/bin/tar"), Path("/usr/bin/git")], []) == {file: "dpkg-dev"}


def test_what_starts_nothing_is_no_program() -> None:
    assert program("open", ("/bin/true", "r", 0)) is None
    assert program("subprocess.Popen", ("no-such-program", ["no-such-program"], None, None)) is None
    assert program("subprocess.Popen", ("true", ["true"], None, {"PATH": "/nowhere"})) is None
    assert program("subprocess.Popen", ("./true", ["true"], b"/bin", None)) == Path("/bin/true")
