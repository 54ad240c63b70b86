"""Verb ``completion``: print the script by which a shell completes what a person types, and answer that script.

The scripts know nothing of prestow: at each Tab they ask ``prestow completion SHELL --typed …`` what the last word can
become. zsh and fish pass the words, one a line; bash, which splits words at ``:``, passes the line up to the cursor,
and the part of the word that it is going to replace. The first line of the answer is its kind (see ``Answer``); the
candidates follow, one a line, each with a tab and its meaning where the shell shows that.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit
from prestow.errors import PrestowError

_SHELLS = ("bash", "zsh", "fish")
_CURSOR = "\0"


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "completion", run,
        help="print the script by which a shell completes verbs, options, and names in the store",
        example="prestow completion zsh\nsource <(prestow completion bash)",
    )  # fmt: skip
    verb.add_argument("shell", choices=_SHELLS, metavar="SHELL", help="bash, zsh or fish")
    verb.add_argument("--typed", help=argparse.SUPPRESS)
    verb.add_argument("--part", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Print the script, or what the last of the typed words can become."""
    if args.typed is not None:
        print("\n".join(_answer(args.shell, args.typed, args.part)))  # noqa: T201 - a shell reads it
        return 0
    script = Path(__file__).with_suffix(f".{args.shell}").read_text("utf-8")
    emit({"shell": args.shell, "script": script}, script.rstrip("\n"), args)
    return 0


def _answer(shell: str, typed: str, part: str) -> Iterator[str]:
    """Yield the lines for a shell."""
    from flows.cli.candidates import Answer, answer

    _, *before, current = _words(typed) if shell == "bash" else typed.split("\n")
    try:
        found = answer(before, current)
    except PrestowError:  # of words that are wrong already; the command will say it
        found = Answer("words")
    yield found.kind
    if shell == "bash":
        stays = current.removesuffix(part) if current.endswith(part) else ""
        yield from (each.word.removeprefix(stays) for each in found.candidates)
    else:
        yield from (f"{each.word}\t{each.meaning}" for each in found.candidates)


def _words(line: str) -> list[str]:
    """Split a line up to the cursor as a shell does; its last word may be empty, or within a quotation."""
    import shlex

    for closing in ("", '"', "'"):
        try:
            return [word.replace(_CURSOR, "") for word in shlex.split(line + _CURSOR + closing)]
        except ValueError:
            continue
    return ["", line]
