"""Finding a runtime, and what is said of its version."""

from pathlib import Path

import pytest

from prestow.errors import NotFoundError, RuntimeFailedError
from prestow.runtime.binary import find_runtime, version_warning


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_runc_is_found_by_default_by_name_and_by_path() -> None:
    found = find_runtime()

    assert found.name == "runc"
    assert found.version
    assert find_runtime("runc") == found == find_runtime(str(found.binary))


def test_a_version_is_read_and_judged(tmp_path: Path) -> None:
    old = program(tmp_path / "a", "echo 'runc version 1.1.5+ds1'; echo 'commit: 1'")
    new = program(tmp_path / "b", "echo 'crun version 1.28'; echo 'commit: 1'")
    other = program(tmp_path / "c", "echo 'youki version 0.5.3'")

    assert find_runtime(str(old)).version == "1.1.5+ds1"
    assert "runc 1.1.5 has known ways out" in find_runtime(str(old)).warning
    assert find_runtime(str(new)).warning == ""
    assert "youki" in find_runtime(str(other)).warning


@pytest.mark.parametrize(
    ("name", "version", "safe"),
    [
        ("runc", (1, 0, 0), False),
        ("runc", (1, 2, 99), False),
        ("runc", (1, 3, 5), False),
        ("runc", (1, 3, 6), True),
        ("runc", (1, 4, 2), False),
        ("runc", (1, 4, 3), True),
        ("runc", (1, 5, 0), True),
        ("runc", (1, 6, 0), True),
        ("runc", (2, 0, 0), True),
        ("crun", (1, 27, 1), False),
        ("crun", (1, 28, 0), True),
        ("crun", (2, 0, 0), True),
        ("else", (9, 9, 9), False),
    ],
)
def test_the_version_gate(name: str, version: tuple[int, int, int], safe: bool) -> None:  # noqa: FBT001 - a table's column
    assert (version_warning(name, version) == "") is safe


def test_a_program_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no-such-runtime"):
        find_runtime("no-such-runtime")


@pytest.mark.parametrize("text", ["exit 1", "echo hello", "kill -9 $$"])
def test_a_program_that_is_no_runtime_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(RuntimeFailedError, match="version"):
        find_runtime(str(program(tmp_path / "runtime", text)))


def test_a_program_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\x7fELFjunk")
    (tmp_path / "junk").chmod(0o755)

    with pytest.raises(RuntimeFailedError, match="does not run"):
        find_runtime(str(tmp_path / "junk"))
