r"""What ``--format`` prints: fields of the document that ``--json`` would print, in a text of the caller's.

    {name} {digest}        a field; of a list, a line for each of its elements
    {labels.team}          a field of a field; a key may have dots in it
    {layers.0.digest}      of one element of a list, counted from 0
    {layers.digest}        of each, with spaces between
    \t \n                  a tab, a new line

``{{.name}}`` is taken for ``{name}``, and ``{{.}}`` is the element itself. A text is printed as it is, its control
characters escaped; null as nothing; all else as JSON.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prestow.errors import InvalidError, printable

_FIELD = re.compile(r"\{\{\s*\.?(?P<go>[^{}\s]*)\s*\}\}|\{(?P<field>[^{}\s]+)\}")
_LONGEST = 1 << 20  # characters of a value
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Template:
    """A text with fields in it.

    Raises:
        InvalidError: it has none, or braces that are no field.
    """

    text: str

    def __post_init__(self) -> None:
        """Check the braces."""
        rest = _FIELD.sub("", self.text)
        if rest == self.text or "{" in rest or "}" in rest:
            raise InvalidError(f"expected fields in braces, as '{{name}} {{digest}}', found {self.text!r}")

    def render(self, document: Mapping[str, Any] | Sequence[Any]) -> str:
        """Fill the fields in, once for a document and once for each element of a list.

        Raises:
            InvalidError: there is no such field.
        """
        found = json.loads(json.dumps(document, default=str))
        return "\n".join(self._line(each) for each in (found if isinstance(found, list) else [found]))

    def _line(self, record: Any) -> str:
        text = self.text.replace(r"\t", "\t").replace(r"\n", "\n")
        return _FIELD.sub(lambda match: _shown(_value(record, match["field"] or match["go"])), text)


def _value(found: Any, path: str) -> Any:
    """Return what a path leads to; the keys of labels have dots in them, so the longest key that is there counts."""
    if not path:
        return found
    name, _, rest = path.partition(".")
    if isinstance(found, list):
        if not name.isdecimal():
            return [_value(each, path) for each in found]
        if int(name) < len(found):
            return _value(found[int(name)], rest)
        raise InvalidError(f"--format: {path!r}: the list has {len(found)} elements, counted from 0")
    if isinstance(found, dict):
        if path in found:
            return found[path]
        if name in found:
            return _value(found[name], rest)
        known = printable(", ".join(found) or "none", _LISTED)
        raise InvalidError(f"--format: no field {printable(path)!r}; those that are there: {known}")
    raise InvalidError(f"--format: no field {printable(path)!r} in {printable(_shown(found))!r}")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value, _LONGEST)
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return " ".join(map(_shown, value))
    return json.dumps(value)
