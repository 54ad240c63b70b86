"""Foreign text in Markdown, which Prefect shows in forms and tables: as code it stays what it is.

Its control characters are escaped, and there is only so much of it. Figures are as people read them, anywhere.
"""

import re

from prestow.errors import printable

_TEXT = 200  # characters
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def code(text: str, limit: int = _TEXT) -> str:
    """Set foreign text as code, between more backticks than it has in a row (CommonMark 0.31, 6.1)."""
    shown = printable(text, limit)
    if not shown.strip():
        return "none"
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown or shown != shown.strip() else f"{fence}{shown}{fence}"


def size(count: float) -> str:
    """Return a number of bytes as people read it: ``12.3 MiB``."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - the step between binary units
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
