"""The page on threats tells of every row, and of no test that does not exist."""

import re
from pathlib import Path

from tests.hostile.table import CASES

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs" / "reference" / "threats.md").read_text()
LINES = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [A-D]-\d", line)]
ROWS = {row: tested for row, _, tested in LINES}
LAST = {"A": 106, "B": 56, "C": 35, "D": 35}
THE_TABLE = "the table"


def test_the_page_has_every_row_once_and_in_order() -> None:
    assert [row for row, _, _ in LINES] == [
        f"{part}-{number:02}" for part, last in LAST.items() for number in range(1, last + 1)
    ]


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE))
    missing = [f"{path}::{name}" for path, name in sorted(named) if f"\ndef {name}(" not in (TESTS / path).read_text()]

    assert len(named) > 150
    assert missing == []


def test_a_row_without_a_test_says_why() -> None:
    untested = {row: what for row, what, tested in LINES if "`" not in tested and THE_TABLE not in tested}

    assert [row for row, what in untested.items() if not re.search(r"later|not applicable", what)] == []
    assert [row for row in untested if row.startswith("A")] == []


def test_the_table_has_the_rows_that_the_page_says() -> None:
    assert sorted({case.row for case in CASES}) == sorted(row for row, tested in ROWS.items() if THE_TABLE in tested)


def test_every_case_has_a_name_of_its_own() -> None:
    names = [(case.row, case.name) for case in CASES]

    assert len(set(names)) == len(names)
