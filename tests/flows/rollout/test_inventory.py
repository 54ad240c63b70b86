"""Hosts that a file or a command lists, beside the fleet file; a command that misbehaves ends, and is named."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.rollout.inventory import read_hosts
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, PrestowError, UnavailableError
from prestow.fleet.document import parse
from prestow.fleet.file import FleetFile, Host

Read = Callable[[str], tuple[Host, ...]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read the hosts of an entry of ``hosts:``, in a fleet file in the test's own directory."""

    def hosts(entry: str) -> tuple[Host, ...]:
        file = parse(f"hosts: [{entry}]\nsets: {{a: {{images: [app:1]}}}}", FleetFile, "fleet.yaml")
        return read_hosts(tmp_path / "fleet.yaml", file, list)

    return hosts


def python(program: str, timeout: str = "30s") -> str:
    return f"{{command: [{sys.executable}, -c, {program!r}], timeout: {timeout}}}"


def names(hosts: tuple[Host, ...]) -> list[str]:
    return [host.name for host in hosts]


def test_a_file_beside_the_fleet_file_is_read(read: Read, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/hosts.yaml").write_text("- {name: b, labels: {x: y}}\n- {name: a}\n")

    assert names(read("{file: lists/hosts.yaml}")) == ["b", "a"]


def test_a_command_prints_yaml_or_json(read: Read) -> None:
    assert names(read(python("print('- name: a')"))) == ["a"]
    assert names(read(python('import json; print(json.dumps([{"name": "a"}, {"name": "b"}], indent=1))'))) == ["a", "b"]


def test_a_command_runs_in_the_directory_of_the_fleet_file_without_a_shell(read: Read, tmp_path: Path) -> None:
    script = tmp_path / "hosts.sh"
    script.write_text('#!/bin/sh\n[ "$1" = "\\$(id) *" ] && cat hosts.yaml\n')
    script.chmod(0o755)
    (tmp_path / "hosts.yaml").write_text("- name: a\n")

    assert names(read('{command: [./hosts.sh, "$(id) *"]}')) == ["a"]


@pytest.mark.parametrize(
    ("entry", "error", "said"),
    [
        ("{file: none.yaml}", NotFoundError, r"none\.yaml: there is no such file; correct `file`"),
        ("{command: [prestow-no-such-program]}", InvalidError, "does not start: No such file.*; correct `command`"),
        (
            python("import sys; sys.exit('no \\x1b[31m login')"), UnavailableError,
            r"failed with status 1: no \\x1b\[31m login; run it by hand",
        ),
        (python("import sys; sys.exit(3)"), UnavailableError, "status 3: nothing on standard error; run it by hand"),
        (python("print('{a: 1}')"), InvalidError, r"output of .*:1:1: expected a list"),
        (python("print('- name: UPPER')"), InvalidError, r"output of .*:1:9: \[0\].name: expected a host name"),
        (python("while True: print('x' * 9999)"), ExhaustedError, "more than 16 MiB; print a list of hosts only"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_is_named(read: Read, entry: str, error: type[PrestowError], said: str) -> None:
    with pytest.raises(error, match=said):
        read(entry)


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(read: Read) -> None:
    program = "import os, signal; os.fork() or signal.pause()"  # the child has our pipe, too

    with pytest.raises(UnavailableError, match="took longer than 1 s; make it quicker, or raise its `timeout`"):
        read(python(program, timeout="1s"))


def test_much_on_standard_error_holds_no_command_up(read: Read) -> None:
    program = "import sys; sys.stderr.write('x' * 1000000); print('- name: a')"

    assert names(read(python(program))) == ["a"]
