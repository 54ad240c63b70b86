"""The commands that the documents tell people to type: each verb and option is one that we have, each target too."""

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from flows.cli.main import parser
from flows.cli.verbs import ALIASES, VERBS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COMING = ROOT / "docs/how-to/come-from-docker.md"
_BLOCK = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:prestow|make) [a-z][^`]*)`")
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def words(line: str) -> tuple[str, ...]:
    """The words of a command, up to where a shell would begin another one."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    return tuple(takewhile(lambda word: word.strip(";|&"), lexer))


def typed(document: Path) -> list[tuple[str, ...]]:
    """The commands in a document's shell blocks that are ours, without variables that are set for one of them."""
    lines = [line for block in _BLOCK.findall(document.read_text("utf-8")) for line in block.splitlines()]
    commands = [re.sub(r"^(\$ )?([A-Z_]+=\S+ )*", "", line.strip()) for line in lines]
    return [words(command) for command in commands if command.startswith(("prestow ", "make "))]


def mentioned(document: Path) -> list[tuple[str, ...]]:
    """Our commands that stand within a sentence, perhaps in part."""
    return [words(command) for command in _INLINE.findall(document.read_text("utf-8"))]


DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TYPED = dict.fromkeys(command for document in DOCUMENTS for command in typed(document))
MENTIONED = dict.fromkeys(command for document in DOCUMENTS for command in mentioned(document))


def test_the_readme_begins_with_one_command_that_does_the_main_job() -> None:
    assert typed(README)[0] == ("make", "demo")


@pytest.mark.parametrize("command", [c for c in TYPED if c[0] == "prestow"], ids=" ".join)
def test_a_command_to_type_is_understood(command: tuple[str, ...]) -> None:
    assert callable(parser().parse_args(command[1:]).verb)


def test_verbs_that_are_mentioned_exist() -> None:
    assert {command[1] for command in MENTIONED if command[0] == "prestow"} - {*VERBS, *ALIASES} == set()


@pytest.mark.parametrize("command", [c for c in mentioned(COMING) if len(c) > 2], ids=" ".join)
def test_what_stands_for_a_command_of_other_tools_is_understood(command: tuple[str, ...]) -> None:
    assert callable(parser().parse_args(command[1:]).verb)


def test_targets_of_make_exist() -> None:
    named = {
        word for command in [*TYPED, *MENTIONED] if command[0] == "make" for word in command[1:] if "=" not in word
    }

    assert named - set(_TARGET.findall((ROOT / "Makefile").read_text("utf-8"))) == set()
