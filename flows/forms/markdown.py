"""Foreign text in Markdown, which Prefect shows in forms and tables: as code it stays what it is.

Its control characters are escaped, and there is only so much of it. Figures are as people read them, anywhere.
"""

import re

from prestow.errors import printable
from prestow.sizes import size

__all__ = ["cell", "code", "size"]

_TEXT = 200  # characters


def code(text: str, limit: int = _TEXT) -> str:
    """Set foreign text as code, between more backticks than it has in a row (CommonMark 0.31, 6.1)."""
    shown = printable(text, limit)
    if not shown.strip():
        return "none"
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown or shown != shown.strip() else f"{fence}{shown}{fence}"


def cell(text: str, limit: int = _TEXT) -> str:
    """Set foreign text as code within a table; readers disagree on bars there (GFM 0.29, 4.10), so it has none."""
    return code(text, limit).replace("|", r"\x7c")
