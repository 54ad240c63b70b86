"""What a person sees in the end: a terminal's screen after all that was written to it.

It knows the sequences that our progress uses, and fails on any other.
"""

import re

_TOKEN = re.compile(r"\x1b\[(?P<numbers>[?0-9;]*)(?P<command>[A-Za-z])|(?P<text>[^\x1b]|\x1b)", re.DOTALL)
_HARMLESS = {("?25", "l"), ("?25", "h")}


def screen(written: str, width: int) -> list[str]:  # noqa: C901, PLR0912 - a branch for each sequence
    """Return the lines of a terminal of so many columns, without spaces at their ends.

    Raises:
        AssertionError: a sequence that is not known here.
    """
    lines, row, column = [""], 0, 0
    for token in _TOKEN.finditer(written):
        character, command = token["text"], token["command"]
        if command == "A":
            row = max(0, row - int(token["numbers"] or 1))
        elif command == "K":
            assert token["numbers"] == "2"
            lines[row] = ""
        elif command == "m" or (command and (token["numbers"], command) in _HARMLESS):
            continue
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
        elif character is not None and character.isprintable():
            if column == width:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + character + lines[row][column + 1 :]
            column += 1
        else:
            raise AssertionError(f"not known: {token[0]!r}")
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]
