"""Tables and pages for people: as wide as what they show, or as the terminal that they are shown on.

Much of it was written by whoever made an image, so no cell can move the cursor or end its line. On a terminal, whose
columns are ``width`` (None is a pipe, a file, or ``--wide``, which get everything):

- a digest is shortened to its first twelve digits, of which every verb finds it again;
- sentences are folded between words;
- columns are dropped while the rest does not fit, in the order of ``drop``, which docs/reference/output.md lists;
- a name that is still too long is folded after a ``/``, ``:`` or the like.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from prestow.errors import printable

_CELL = 4096  # characters
_GAP = 2
_SENTENCE = 24  # columns to which one is folded before another column is dropped
_NARROWEST = 8
_ENDS = (" ", "/", ":@,=", "._-")  # of parts that can be on different lines
_LONG_DIGEST = re.compile(r"(sha(?:256|512):[0-9a-f]{12})[0-9a-f]{52,116}\b")


def table(
    header: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None, *, drop: Sequence[str] = ()
) -> str:
    """Lay rows out in columns, on ``width`` columns of a terminal; those of ``drop`` go first where it is narrow."""
    lines = [list(header), *([_cell(cell, width) for cell in row] for row in rows)]
    if width is None:
        return _joined(lines, _widths(lines))
    shown, going = list(range(len(header))), [header.index(name) for name in drop]
    while going and sum(_least(line[at] for line in lines) + _GAP for at in shown) - _GAP > width:
        shown.remove(going.pop(0))
    lines = [[line[at] for at in shown] for line in lines]
    widths = _shrunk(_widths(lines), [_least(column) for column in zip(*lines, strict=True)], width)
    folded = [zip_longest(*map(fold, line, widths), fillvalue="") for line in lines]
    return _joined([list(line) for cells in folded for line in cells], widths)


def listing(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    records: Sequence[Mapping[str, object]],
    width: int | None,
    *,
    drop: Sequence[str],
    namespaces: bool,
) -> str:
    """Lay out a row for each record; with ``namespaces``, whose it is stands first."""
    if not namespaces:
        return table(header, rows, width, drop=drop)
    owned = [(record["namespace"], *row) for record, row in zip(records, rows, strict=True)]
    return table(("NAMESPACE", *header), owned, width, drop=drop)


def page(entries: Mapping[str, object], width: int | None = None, *, indent: str = "") -> str:
    """Lay names and values out, one a line; on a terminal, values that are too long are folded beside their name."""
    shown = {key.replace("_", " "): printable(_text(value), _CELL) for key, value in entries.items()}
    left = max(map(len, shown), default=0) + _GAP
    lines = list[str]()
    for key, value in shown.items():
        room = _CELL if width is None else max(_NARROWEST, width - len(indent) - left)
        parts = [value] if len(value) <= room else fold(value, room)
        lines += [
            f"{indent}{name.ljust(left)}{part}".rstrip() for name, part in zip_longest([key], parts, fillvalue="")
        ]
    return "\n".join(lines)


def fit(text: str, width: int | None) -> str:
    """Return a text whose lines are folded where they are longer than a terminal is wide, each below its beginning."""
    if width is None:
        return text
    lines = list[str]()
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += (
            [line] if len(line) <= width else [f"{indent}{each}" for each in fold(line.lstrip(), width - len(indent))]
        )
    return "\n".join(lines)


def fold(text: str, width: int) -> list[str]:
    """Return a text in lines of so many characters at most, broken between words; only a word too long is cut."""
    lines = [""]
    for piece in _pieces(text, width):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    lines = [line.rstrip() for line in lines]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def _pieces(text: str, width: int, ends: Sequence[str] = _ENDS) -> list[str]:
    """Split a text where it can be broken best: after spaces; of what is still too long, after slashes; and so on."""
    if " " not in text.rstrip() and len(text) > width:
        text = short(text)
    if len(text.rstrip()) <= width or not ends:
        return [text]
    return [part for piece in re.split(rf"(?<=[{ends[0]}])", text) for part in _pieces(piece, width, ends[1:])]


def short(text: str) -> str:
    """Return a text with the digests in it cut to the digits that tell one from another."""
    return _LONG_DIGEST.sub(r"\1", text)


def moment(when: float) -> str:
    """Return seconds since the epoch as people read them here, with the zone: ``2026-11-30 08:45 CET``."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(when))


def _cell(cell: object, width: int | None) -> str:
    text = printable(_text(cell), _CELL)
    return text if width is None else short(text)


def _text(value: object) -> str:
    """Return a value as a person writes it, in JSON or in the settings file: not as Python does."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value)


def _least(cells: Iterable[str]) -> int:
    """Return the columns that cells take at least: a sentence can be folded, a name is better left whole."""
    return max(min(len(cell), _SENTENCE) if " " in cell else len(cell) for cell in cells)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _shrunk(widths: list[int], least: list[int], room: int) -> list[int]:
    """Take from the widest columns what is too much: down to ``least``, and if need be further."""
    widths = [min(width, room) for width in widths]
    while sum(widths) + _GAP * (len(widths) - 1) > room:
        spare = [at for at in range(len(widths)) if widths[at] > least[at]]
        spare = spare or [at for at in range(len(widths)) if widths[at] > _NARROWEST]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _joined(lines: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    gap = " " * _GAP
    return "\n".join(gap.join(map(str.ljust, line, widths)).rstrip() for line in lines)
