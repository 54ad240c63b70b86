"""What `make` lets through of its caller's environment: the same commands do the same on every machine."""

import os
import subprocess

import pytest

from tests.started import ROOT

PASSED = ("CI", "HOME", "LANG", "PIP_CERT", "UV_INDEX_URL", "SSL_CERT_FILE", "https_proxy", "NO_PROXY", "TMPDIR")
KEPT_BACK = (
    "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PREFECT_API_URL", "PRESTOW_HOME", "XDG_DATA_HOME",
    "LC_ALL", "PYTEST_ADDOPTS", "VIRTUAL_ENV", "REQUESTS_CA_BUNDLE", "GIT_DIR",
)  # fmt: skip


@pytest.mark.parametrize(
    "makefile", ["shown:\n\t@env", "shown: ; @$(MAKE) --no-print-directory -s --eval 'a: ; @env' a"]
)
def test_commands_see_where_things_are_and_nothing_else_of_the_caller(makefile: str) -> None:
    given = dict.fromkeys((*PASSED, *KEPT_BACK), "given")
    command = ["make", "--no-print-directory", f"--eval={makefile}", "shown", "FUZZ_SECONDS=7"]

    done = subprocess.run(
        command, cwd=ROOT, env={**given, "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )  # fmt: skip

    seen = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert {name: seen.get(name) for name in PASSED} == dict.fromkeys(PASSED, "given")
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["FUZZ_SECONDS"] == "7", "what is said to make itself is for its commands"
    assert seen.keys() & set(KEPT_BACK) == set()
