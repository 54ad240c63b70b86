"""The test programs: real executables that do the same on both architectures."""

import struct
import subprocess
from pathlib import Path

import pytest

from prestow.platforms import host
from tests.arm64_machine import Machine
from tests.programs import code, hello

MOTD = b"line\n" * 2000  # more than one buffer

CASES = [
    (["/bin/hello"], 0),
    (["/bin/hello", "exit"], 0),
    (["/bin/hello", "7"], 7),
    (["/bin/hello", "exit", "7"], 7),
    (["/bin/hello", "exit", "042"], 42),
    (["/bin/hello", "exit", "255x"], 255),
    (["/bin/hello", "7", "exit"], 0),
    (["/bin/hello", ""], 0),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "bin/hello").write_bytes(hello(host().architecture))
    (tmp_path / "bin/hello").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("arguments", "status"), CASES)
def test_this_machine_s_program_prints_the_message_and_exits_with_the_number(
    root: Path, arguments: list[str], status: int
) -> None:
    (root / "etc/motd").write_bytes(MOTD)

    result = subprocess.run(["chroot", root, *arguments], capture_output=True, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (status, MOTD, b"")


def test_this_machine_s_program_fails_where_there_is_no_message(root: Path) -> None:
    result = subprocess.run(["chroot", root, "/bin/hello", "7"], capture_output=True, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")


@pytest.mark.parametrize(("arguments", "status"), CASES)
def test_the_arm64_instructions_do_the_same(arguments: list[str], status: int) -> None:
    machine = Machine(code("arm64"), [argument.encode() for argument in arguments], {b"/etc/motd": MOTD})

    assert machine.run() == status
    assert machine.output == MOTD


def test_the_arm64_instructions_fail_where_there_is_no_message() -> None:
    machine = Machine(code("arm64"), [b"/bin/hello", b"7"], {})

    assert machine.run() == 1
    assert machine.output == b""


@pytest.mark.parametrize(
    ("architecture", "machine"), [("amd64", "Advanced Micro Devices X86-64"), ("arm64", "AArch64")]
)
def test_readelf_finds_a_static_executable_of_one_segment(tmp_path: Path, architecture: str, machine: str) -> None:
    program = tmp_path / "hello"
    program.write_bytes(hello(architecture))

    listed = subprocess.run(["readelf", "--wide", "-hl", program], capture_output=True, check=True, text=True)

    assert listed.stderr == ""
    assert "EXEC (Executable file)" in listed.stdout
    assert machine in listed.stdout
    assert listed.stdout.count("LOAD") == 1
    assert "INTERP" not in listed.stdout


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_segment_holds_the_whole_file_and_the_entry_point_its_code(architecture: str) -> None:
    program = hello(architecture)

    entry, segments = struct.unpack_from("<QQ", program, 24)
    _, _, offset, address, _, size, in_memory, alignment = struct.unpack_from("<IIQQQQQQ", program, segments)

    assert (offset, size, in_memory) == (0, len(program), len(program))
    assert address % alignment == 0
    assert program[entry - address :] == code(architecture)
    assert len(program) < 300
