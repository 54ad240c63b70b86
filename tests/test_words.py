"""Everything that a user reads keeps to the words of docs/reference/words.md, and so do the names in the code."""

import argparse
import ast
import re
from collections.abc import Iterator
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.cli.main import parser

ROOT = Path(__file__).parent.parent
WORDS = ROOT / "docs/reference/words.md"
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY")),
    *(file for file in sorted((ROOT / "docs").rglob("*.md")) if file != WORDS and file.parent.name != "adr"),
]
"""ADRs are history and stay as they were written; words.md has to name the words."""
PRODUCT = [file for room in ("config", "prestow", "tasks", "flows") for file in sorted((ROOT / room).rglob("*.py"))]
FLOWS = sorted((ROOT / "flows").glob("*.py"))
DEPLOYMENTS = ROOT / "deployments/prefect.yaml"

_NO_PROSE = re.compile(r"`[^`]+`|\]\([^)\s]+\)|<!--.*?-->", re.DOTALL)
"""What a sentence only names: inline code, targets of links, comments."""
_FREE_RELATIVE = re.compile(r"(?:\A|[.:;]\s+|\n\s*\n)(?:- )?((?:Who|Whose|What)\b[^.?!|]*?)(?:[.!|]|\n\s*\n|\Z)")


class Text(NamedTuple):
    """A text that a user reads, and the line where it begins."""

    where: str
    line: int
    text: str


def column(heading: str) -> list[str]:
    """Return the first column of the table in words.md whose first heading this is."""
    lines = WORDS.read_text("utf-8").splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith(f"| {heading} |")]
    return [line.split("|")[1].strip(" `") for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :])]


PHRASES = column("do not write")
NAMES = set(column("no name has"))
_PHRASE = re.compile(rf"\b({'|'.join(PHRASES)})s?\b".replace(" ", r"\s+"), re.IGNORECASE)


def blanked(text: str) -> str:
    """Return a text of the same length and the same lines, without what sentences only name."""
    return _NO_PROSE.sub(lambda match: re.sub(r"[^\n]", "_", match[0]), text)


def prose(document: str) -> str:
    """Return a Markdown document without inline code, links' targets and the fences of blocks, whose text counts."""
    pieces = re.split(r"^( *```\w*)$", document, flags=re.MULTILINE)
    return "".join("" if at % 2 else piece if at % 4 == 2 else blanked(piece) for at, piece in enumerate(pieces))


def found(texts: Iterator[Text]) -> list[str]:
    """Return each place where a text has a phrase of the list, or a sentence that begins with a free relative."""
    return [
        f"{text.where}:{text.line + text.text.count(chr(10), 0, match.start(1))}: {' '.join(match[1].split())[:60]!r}"
        f" in {' '.join(text.text[max(0, match.start() - 60) : match.end() + 60].split())!r}"
        for text in texts
        for match in chain(_PHRASE.finditer(text.text), _FREE_RELATIVE.finditer(text.text))
    ]


def where(file: Path) -> str:
    return str(file.relative_to(ROOT))


def verbs(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of all its verbs and sub-verbs."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from verbs(verb)


def literals(file: Path) -> Iterator[Text]:
    """Yield the sentences and titles among the strings of a module: errors, warnings, help, descriptions."""
    tree = ast.parse(file.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            text = "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation | parts:
            text = node.value
        else:
            continue
        if " " in text or text[:1].isupper():  # all else is a name
            yield Text(where(file), node.lineno, blanked(text))


def descriptions(file: Path) -> Iterator[Text]:
    """Yield what Prefect's UI shows as the description of a flow: its docstring."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and "flow" in {
            getattr(getattr(each, "func", each), "id", "") for each in node.decorator_list
        }:
            yield Text(where(file), node.lineno, blanked(ast.get_docstring(node) or ""))


def names(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the names that other modules see: the module's, and those of its classes, functions and methods."""
    yield 1, file.stem
    tree = ast.parse(file.read_text("utf-8"))
    methods = (node for outer in tree.body if isinstance(outer, ast.ClassDef) for node in outer.body)
    for node in chain(tree.body, methods):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.lineno, node.name


def words_of(name: str) -> set[str]:
    """Return the words of a name, be it snake_case or CamelCase."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def test_the_list_is_read() -> None:
    assert {"folder", "somebody", "told"} <= set(PHRASES)
    assert {"held", "kept", "left"} <= NAMES


def test_what_is_searched_for_would_be_found() -> None:
    text = "Who pulls `a folder` again.\n\nIs it a folder? Nobody is\ntold of it. Who asks?"

    assert [line.split(" in ")[0] for line in found(iter([Text("x", 7, blanked(text))]))] == [
        "x:9: 'folder'", "x:9: 'Nobody'", "x:10: 'told'", "x:7: 'Who pulls __________ again'",
    ]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS, ids=where)
def test_a_document_is_in_plain_words(document: Path) -> None:
    assert found(iter([Text(where(document), 1, prose(document.read_text("utf-8")))])) == []


def test_the_help_of_every_verb_is_in_plain_words() -> None:
    assert found(Text(f"{verb.prog} --help", 1, blanked(verb.format_help())) for verb in verbs(parser())) == []


def test_flows_and_deployments_are_described_in_plain_words() -> None:
    deployments = Text(where(DEPLOYMENTS), 1, blanked(DEPLOYMENTS.read_text("utf-8")))

    assert found(chain([deployments], *map(descriptions, FLOWS))) == []


def test_settings_forms_errors_and_warnings_are_in_plain_words() -> None:
    assert found(chain.from_iterable(map(literals, PRODUCT))) == []


def test_docstrings_and_comments_name_the_actor() -> None:
    nameless = re.compile(r"\b(?:some|any|no)body\b(?!\.pem|:nothing)", re.IGNORECASE)  # but for a file and a password
    lines = [(where(file), line) for file in PRODUCT for line in file.read_text("utf-8").splitlines()]

    assert [(file, line) for file, line in lines if nameless.search(line)] == []


def test_no_module_class_or_function_has_the_name_of_a_state() -> None:
    bad = [f"{where(file)}:{line}: {name}" for file in PRODUCT for line, name in names(file) if words_of(name) & NAMES]

    assert bad == [], "a function is called by what it does or returns"
