"""The manual pages: each verb has one, a reader of manual pages finds no fault in them, and they show every option."""

import re
import subprocess
from pathlib import Path

import pytest

from flows.cli.main import parser
from flows.cli.manual import pages, write

UNDATED = 'missing date, using ""'
"""Said of every page: a date would make each build another one."""


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual") / "man1"
    write(folder, pages())
    return folder


def rendered(page: Path) -> str:
    """What a person reads of a page, in one line."""
    done = subprocess.run(["mandoc", "-Tutf8", "-Owidth=100", page], check=True, capture_output=True, text=True)
    return " ".join(re.sub(".\b", "", done.stdout).split())


def test_each_verb_has_a_page(manual: Path) -> None:
    assert {page.name for page in manual.iterdir()} == {
        "prestow.1", *(f"prestow-{name}.1" for name in parser().listed)
    }  # fmt: skip


def test_a_reader_of_manual_pages_finds_no_fault(manual: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", *manual.iterdir()], check=False, capture_output=True, text=True
    )  # fmt: skip

    assert [line for line in done.stdout.splitlines() if UNDATED not in line] == []
    assert done.stderr == ""


def test_a_page_shows_all_that_its_verb_understands(manual: Path) -> None:
    top = parser()
    for name in top.listed:
        text = rendered(manual / f"prestow-{name}.1")
        verbs = [top.verbs[name], *top.verbs[name].verbs.values()]
        for verb in verbs:
            spelled = {word for action in verb.arguments for word in action.option_strings}
            assert {word for word in spelled if word not in text} == set()
            assert verb.prog in text
            assert str(verb.description).split("`", maxsplit=1)[0].strip() in text


def test_what_the_help_says_is_in_the_page(manual: Path) -> None:
    text = rendered(manual / "prestow-pull.1")

    assert text.startswith("PRESTOW-PULL(1)")
    assert "prestow-pull - fetch an image" in text
    assert "SYNOPSIS prestow pull [OPTIONS] REF DESCRIPTION" in text
    assert "one of resolved, manifest-stored, layer-fetched" in text
    assert "prestow pull docker.io/library/alpine:3.20" in text
