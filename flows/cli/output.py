"""What a verb prints: a table for people, or one JSON document for scripts (``--json``); never both.

Standard output carries only the answer; progress and complaints go to standard error.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def emit(document: Mapping[str, Any] | Sequence[Any], text: str, *, as_json: bool) -> None:
    """Print the document or the text, whichever was asked for."""
    print(json.dumps(document, indent=2, default=str) if as_json else text)  # noqa: T201 - this is where verbs print


def say(text: str) -> None:
    """Tell a person something beside the answer."""
    print(text, file=sys.stderr)  # noqa: T201 - likewise


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out in columns, aligned by the longest cell."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def size(count: float) -> str:
    """Give a number of bytes as people read it: ``12.3 MiB``."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - the step between binary units
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
