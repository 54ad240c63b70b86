"""Where answers go: whole, to standard output, or not at all; and nothing is written over anything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.tables import fit, page, table
from flows.forms.markdown import size
from tests.cases import long_but
from tests.flows.cli.conftest import PROJECT, Prestow

RESERVED = """
import subprocess
from flows.cli.output import answer_reserved
print("before")
with answer_reserved():
    print("from Python", flush=True)
    subprocess.run(["echo", "from another program"], check=True)
print("the answer")
"""


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert table(("A", "LONG"), [("xyz", 1), ("", "w")]) == "A    LONG\nxyz  1\n     w"


DIGEST = f"sha256:{64 * 'a'}"
WHY = "no name, container or lease leads to it, and /var/lib/prestow has it"


def test_on_a_terminal_digests_are_short_sentences_folded_and_columns_dropped_in_their_order() -> None:
    header, rows = ("KIND", "NAME", "WHY"), [("blob", DIGEST, WHY)]

    assert table(header, rows, 120, drop=("KIND",)).splitlines()[1] == f"blob  {DIGEST[:19]}  {WHY}"
    assert table(header, rows, 62, drop=("KIND",)).splitlines() == [
        "KIND  NAME                 WHY",
        f"blob  {DIGEST[:19]}  no name, container or lease leads",
        "                           to it, and /var/lib/prestow has it",
    ]
    assert table(header, rows, 48, drop=("KIND", "WHY")).splitlines()[1:] == [
        f"{DIGEST[:19]}  no name, container or lease",
        "                     leads to it, and",
        "                     /var/lib/prestow has it",
    ]
    assert table(header, rows, 20, drop=("KIND", "WHY")).splitlines() == ["NAME", DIGEST[:19]]
    assert table(header, rows, None, drop=("KIND",)).splitlines()[1] == f"blob  {DIGEST}  {WHY}"


def test_a_name_that_is_too_long_is_folded_after_a_slash_and_no_table_is_wider_than_its_terminal() -> None:
    name = "registry.example:5000/team/an-image:1"

    assert table(("NAME",), [(name,)], 30).splitlines()[1:] == ["registry.example:5000/team/", "an-image:1"]
    assert page({"name": name, "digest": DIGEST}, 36).splitlines() == [
        "name    registry.example:5000/team/", "        an-image:1", f"digest  {DIGEST[:19]}"
    ]  # fmt: skip
    assert table(("NAME",), [(40 * "x",)], 12).splitlines()[1:] == ["xxxxxxxxxxx…"]
    assert fit(f"  at {name} @ {DIGEST}", 80).splitlines() == [f"  at {name} @", f"  {DIGEST}"]


def test_a_cell_is_one_line() -> None:
    assert table(("A", "B"), [("x\ny\x1b[2J", "z")]).splitlines()[1:] == ["x\\ny\\x1b[2J  z"]
    assert page({"a_b": "x\ny", "c": 1}, indent=" ") == " a b  x\\ny\n c    1"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (5 << 50, "5120.0 TiB")],
)
def test_sizes_are_told_as_people_read_them(count: int, text: str) -> None:
    assert size(count) == text


def test_the_answer_s_place_is_kept_for_it() -> None:
    program = [sys.executable, "-c", RESERVED]

    done = subprocess.run(program, cwd=PROJECT, check=True, capture_output=True, text=True)

    assert done.stdout == "before\nthe answer\n"
    assert done.stderr == "from Python\nfrom another program\n"


def test_an_answer_that_cannot_be_written_is_an_error(alone: Prestow) -> None:
    with Path("/dev/full").open("w") as full:
        done = alone("images", stdout=full)

    assert done.status == 11
    assert done.err == "prestow: standard output: No space left on device; the answer is lost\n"


def test_a_reader_that_has_seen_enough_is_no_error(alone: Prestow) -> None:
    with alone.start("doctor") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""

    assert process.returncode == 0


@pytest.mark.parametrize("closed", long_but("<&- >&- 2>&-", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]))
def test_a_closed_stream_is_not_a_file_of_the_store_s(alone: Prestow, closed: str) -> None:
    script = f'exec "$0" -m prestow "$@" {closed}'
    lines = [["images", "--json"], ["images", "rm", "absent"]]

    statuses = [
        subprocess.run(
            ["sh", "-c", script, sys.executable, *line],
            cwd=PROJECT,
            env=alone.environment,
            capture_output=True,
            check=False,
        ).returncode
        for line in lines
    ]

    assert statuses == [0, 3]
    assert json.loads((alone.home / "store.json").read_bytes())["format"] == 1
    assert alone("images").status == 0
