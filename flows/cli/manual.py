"""The manual pages, made from the parser: ``python -m flows.cli.manual DIRECTORY`` writes them for the wheel.

``prestow.1`` lists the verbs, and each verb has a page, with a section for each of its sub-verbs. The macros are
those of man(7), which every reader of manual pages knows.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from flows.cli.main import parser
from flows.cli.parsing import Parser
from prestow import __version__

_FORMS: Final = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]", "...": "[{0} ...]"}
"""How often a value may stand, by ``nargs``."""


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    top = parser()
    shared = {each.dest for each in top.arguments}
    made = {"prestow.1": "\n".join(_first(top))}
    for name, meaning in top.listed.items():
        made[f"prestow-{name}.1"] = "\n".join(_verb_page(top, name, meaning, shared))
    return made


def _first(top: Parser) -> Iterator[str]:
    description = str(top.description)
    yield from _head("prestow", "pull OCI images and run containers as Prefect flows", "prestow [OPTIONS] VERB ...")
    yield from (".SH DESCRIPTION", _text(description))
    yield ".SH VERBS"
    for name, meaning in top.listed.items():
        yield from (".TP", f".BR {_escaped(f'prestow-{name}')} (1)", _text(meaning))
    yield from _arguments("OPTIONS", [each for each in top.arguments if each.option_strings])
    yield from _epilog(top)


def _verb_page(top: Parser, name: str, meaning: str, shared: set[str]) -> Iterator[str]:
    verb = top.verbs[name]
    yield from _head(f"prestow-{name}", meaning, _synopsis(verb))
    yield from (".SH DESCRIPTION", _text(str(verb.description)))
    others = [other for other, each in top.verbs.items() if each is verb and other != name]
    if others:
        yield from (".PP", _text(f"Also: {', '.join(f'`prestow {other}`' for other in others)}."))
    yield from _body(verb, ".SH", set())
    if verb.listed:
        yield ".SH SUB-VERBS"
        for part in verb.listed:
            yield from (f".SS {_escaped(part)}", _code(_synopsis(verb.verbs[part])), ".PP")
            yield _text(str(verb.verbs[part].description))
            yield from _body(verb.verbs[part], "", shared)
    yield from _epilog(verb)
    yield from (".SH SEE ALSO", ".BR prestow (1)")


def _body(verb: Parser, heading: str, without: set[str]) -> Iterator[str]:
    """Yield the arguments and options of a verb; without a heading, one list of both."""
    arguments = [each for each in verb.arguments if not each.option_strings]
    options = [each for each in verb.arguments if each.option_strings and each.dest not in without]
    yield from _arguments(heading and "ARGUMENTS", arguments)
    yield from _arguments(heading and "OPTIONS", options)


def _head(name: str, meaning: str, synopsis: str) -> Iterator[str]:
    yield f'.TH {_escaped(name.upper())} 1 "" "prestow {_escaped(__version__)}"'
    yield from (
        ".SH NAME",
        rf"{_escaped(name)} \- {_escaped(meaning.replace('`', ''))}",
        ".SH SYNOPSIS",
        _code(synopsis),
    )


def _synopsis(verb: Parser) -> str:
    values = [_value(each) for each in verb.arguments if not each.option_strings]
    part = "SUB-VERB ..." if verb.get_default("verb") is None else "[SUB-VERB ...]"
    return " ".join([verb.prog, "[OPTIONS]", *values, *([part] if verb.listed else [])])


def _arguments(heading: str, found: list[argparse.Action]) -> Iterator[str]:
    if heading and found:
        yield f".SH {heading}"
    for each in found:
        names = ", ".join(rf"\fB{_escaped(name)}\fR" for name in each.option_strings)
        value = "" if each.nargs == 0 else rf"\fI{_escaped(_value(each))}\fR"
        yield from (".TP", f"{names} {value}".strip(), _text(_meaning(each)))


def _meaning(action: argparse.Action) -> str:
    """Return the help text, with the choices where the value does not show them."""
    text = str(action.help).replace("%%", "%")
    return f"{text}; one of {', '.join(map(str, action.choices))}" if action.choices and action.metavar else text


def _value(action: argparse.Action) -> str:
    """Return how a value is written: ``REF``, ``[NAME ...]``, ``{auto,erofs}``."""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    return _FORMS.get(str(action.nargs), "{0}").format(action.metavar or choices)


def _epilog(verb: Parser) -> Iterator[str]:
    """Yield the examples, and the paragraphs that follow them."""
    examples, *paragraphs = str(verb.epilog).removeprefix("example:\n").split("\n\n")
    yield from (".SH EXAMPLES", ".EX", *(_escaped(line.strip()) for line in examples.splitlines()), ".EE")
    if paragraphs:
        yield ".SH NOTES"
        for number, paragraph in enumerate(paragraphs):
            yield from ([".PP"] if number else [])
            yield _text(paragraph)


def _code(text: str) -> str:
    return rf"\fB{_escaped(text)}\fR"


def _text(text: str) -> str:
    """Return a paragraph: what stands between backticks is bold."""
    return re.sub("`([^`]*)`", r"\\fB\1\\fR", _escaped(text))


def _escaped(text: str) -> str:
    """Return text so that roff prints it as it is, its hyphens as those that are typed."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("\n", " ")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def write(directory: Path, made: Mapping[str, str]) -> None:
    """Write the pages into a directory, which is made if it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (directory / name).write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), pages())
