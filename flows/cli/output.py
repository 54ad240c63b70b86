"""What a verb prints: a table for people, or one JSON document for scripts (``--json``); never both.

Standard output carries only the answer; progress and complaints go to standard error. Much of what is shown was
written by whoever made an image, so no cell of a table can move the cursor or end its line.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prestow.errors import StorageError, printable
from prestow.sizes import size

__all__ = ["answer_reserved", "emit", "open_null", "page", "say", "size", "table"]

_CELL = 4096


def emit(document: Mapping[str, Any] | Sequence[Any], text: str, *, as_json: bool) -> None:
    """Print the document or the text, whichever was asked for.

    Raises:
        StorageError: it could not be written; a reader that has seen enough is a BrokenPipeError, as ever.
    """
    import json

    try:
        print(json.dumps(document, indent=2, default=str) if as_json else text, flush=True)  # noqa: T201 - verbs print here
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


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out in columns, aligned by the longest cell; what is foreign in them is made harmless."""
    lines = [list(header), *([printable(str(cell), _CELL) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def listing(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    records: Sequence[Mapping[str, object]],
    *,
    namespaces: bool,
) -> str:
    """Lay out a row for each record; with ``namespaces``, whose it is stands first."""
    if not namespaces:
        return table(header, rows)
    owned = [(record["namespace"], *row) for record, row in zip(records, rows, strict=True)]
    return table(("NAMESPACE", *header), owned)


def page(entries: Mapping[str, object], *, indent: str = "") -> str:
    """Lay names and values out, one a line; what is foreign in them is made harmless."""
    shown = {key.replace("_", " "): printable(str(value), _CELL) for key, value in entries.items()}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{indent}{key.ljust(width)}  {value}".rstrip() for key, value in shown.items())
