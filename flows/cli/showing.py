"""What a command shows, and how: options of all verbs for the answer on standard output and progress on standard error.

--json, --format    the answer as a document, or as fields of it
--quiet             the shortest answer that a script can use, and no progress
--wide              tables with all they have, however narrow the terminal is
--progress          bars (on a terminal), lines, or nothing
"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from prestow.errors import InvalidError, PrestowError, printable

if TYPE_CHECKING:
    from flows.cli.fields import Template

_PROGRESS = ("auto", "plain", "none")
_VARIABLE = "PRESTOW_PROGRESS"


def add_showing(common: argparse.ArgumentParser) -> None:
    """Let all verbs be asked for another form of their answer, and for less or more beside it."""
    form = common.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print one JSON document on standard output; an error is one, too"
    )
    form.add_argument(
        "--format", metavar="TEXT", type=template,
        help="print this with fields of the JSON document in it, a line for each element of a list: '{name} {digest}'",
    )  # fmt: skip
    common.add_argument("--wide", action="store_true", help="show all columns and whole digests on any terminal")
    common.add_argument(
        "--quiet", "-q", action="store_true",
        help="show no progress, and of an answer only names with digests, digests or IDs",
    )  # fmt: skip
    common.add_argument(
        "--progress", choices=_PROGRESS,
        help=f"how to show progress: bars on a terminal, plain lines, or none (default: {_VARIABLE}, or auto)",
    )  # fmt: skip


def settle(args: argparse.Namespace) -> None:
    """Fill in what was not said: ``json``, ``format``, ``quiet``, ``progress``; and ``width``, the columns of a table.

    Raises:
        InvalidError: the variable has a value that it cannot have.
    """
    args.json, args.format = getattr(args, "json", False), getattr(args, "format", None)
    args.quiet, args.width = getattr(args, "quiet", False), _width(args)
    args.progress = getattr(args, "progress", None) or _progress(args)


def _progress(args: argparse.Namespace) -> str:
    """Return what is usual; a script that reads documents gets nothing beside them that an error could be lost in."""
    named = os.environ.get(_VARIABLE) or "auto"
    if named not in _PROGRESS:
        raise InvalidError(f"{_VARIABLE}: expected {', '.join(_PROGRESS)}, found {printable(named)!r}")
    is_for_a_script = args.json and named == "auto" and not _is_terminal(2)
    return "none" if args.quiet or is_for_a_script else named


def _width(args: argparse.Namespace) -> int | None:
    """Return the columns of the terminal that the answer is shown on; None if it is none, or all is to be shown."""
    if getattr(args, "wide", False) or not _is_terminal(1):
        return None
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _is_terminal(number: int) -> bool:
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    return stream is not None and stream.isatty()


def template(text: str) -> "Template":
    """Check the text of ``--format``."""
    from flows.cli.fields import Template

    if text in ("json", "yaml", "table"):
        raise argparse.ArgumentTypeError("print a document, which is YAML, too, with --json; a table with neither")
    try:
        return Template(text)
    except PrestowError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
