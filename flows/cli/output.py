"""What a verb prints: a page for people, or one JSON document for scripts (``--json``, ``--format``); never both.

Standard output carries only the answer; progress and complaints go to standard error.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prestow.errors import PrestowError, RuntimeFailedError, StorageError
from prestow.sizes import size

__all__ = ["answer_reserved", "complain", "emit", "open_null", "say", "size"]


def emit(
    document: Mapping[str, Any] | Sequence[Any], text: str, args: argparse.Namespace, *, short: str | None = None
) -> None:
    """Print the answer in the form that was asked for (``flows.cli.showing``).

    Args:
        document: for ``--json`` and ``--format``.
        text: for people.
        args: the command's arguments.
        short: for ``--quiet``, if that shortens the answer.

    Raises:
        InvalidError: the document has no such field.
        StorageError: it could not be written; a reader that has seen enough is a BrokenPipeError, as ever.
    """
    if args.json:
        import json

        shown = json.dumps(document, indent=2, default=str)
    elif args.format is not None:
        shown = args.format.render(document)
    else:
        shown = short if args.quiet and short is not None else text
    try:
        print(shown, end="\n" if shown else "", flush=True)  # noqa: T201 - verbs print here
    except BrokenPipeError:
        raise
    except OSError as error:
        with open_null() as null:  # or the interpreter would try again when it ends, and complain
            os.dup2(null, 1)
        raise StorageError(f"standard output: {error.strerror}; the answer is lost") from error


def say(text: str) -> None:
    """Print something for a person beside the answer."""
    if sys.stderr is not None:  # it may be closed
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - likewise


def complain(error: PrestowError, *, as_json: bool) -> None:
    """Print why a command failed: a sentence, or the document that json.md describes, in one line."""
    cause = error.__cause__ if isinstance(error, RuntimeFailedError) else None  # of `run` all failures have one status
    known = cause if isinstance(cause, PrestowError) else error
    document = {
        "error": type(known).__name__,
        "message": str(error),
        "status": error.exit_code,
        "transient": known.transient,
    }
    if as_json:
        import json

        say(json.dumps(document))
    else:
        say(f"prestow: {error}")


@contextmanager
def open_null() -> Iterator[int]:
    """Open what swallows everything, for a block."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        yield null
    finally:
        os.close(null)


@contextmanager
def answer_reserved() -> Iterator[None]:
    """Keep standard output for the answer: whatever runs in this block and writes there, writes to standard error."""
    _flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(answer, 1)
        os.close(answer)


def _flush() -> None:
    if sys.stdout is not None:  # it may be closed
        sys.stdout.flush()
