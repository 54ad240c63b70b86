"""A session of tests ends though one hangs beyond its timeout, says where, and has run the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import long_but
from tests.started import ROOT

_CONFTEST = """
from tests import hanging
hanging._MORE = 0.5
pytest_plugins = ["tests.hanging"]
"""
_TESTS = """
import threading, pytest

def wait_for_ever():
    threading.Event().wait()

@pytest.fixture
def begin():
    if {part!r} == "begin":
        try_again()
    yield

@pytest.fixture
def end():
    yield
    if {part!r} == "end":
        wait_for_ever()

def try_again():
    try:
        wait_for_ever()
    finally:
        wait_for_ever()

@pytest.mark.timeout(0.5)
def test_hangs(begin, end):
    if {part!r} == "body":
        try_again()
    assert {part!r} != "end"

def test_other():
    pass
"""


@pytest.mark.parametrize("part", long_but("body", ["begin", "body", "end"]))
def test_a_session_ends_and_tells_which_test_hung_and_where(tmp_path: Path, part: str) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_it.py").write_text(_TESTS.format(part=part))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\ntimeout = 60\n")
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout
    assert "crashed while running 'test_it.py::test_hangs'" in done.stdout
    assert "1 passed" in done.stdout
    assert "wait_for_ever" in done.stderr
