"""JSON documents from outside, read so that no two readers can understand them differently.

The bytes are strict UTF-8 without a byte order mark; one JSON object and nothing after it; no name twice in an
object, nor a second spelling of a name that the specification knows (Go ignores case, others do not); no NaN, no
infinity, no lone surrogate, no integer beyond 64 bits, no absurd depth. Whatever breaks a rule is an
:class:`~prestow.errors.InvalidError` that says where. Unknown names are left alone: they belong to later versions.
"""

import json
import math
from collections import Counter
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

from prestow.errors import ExhaustedError, InvalidError, printable

_T = TypeVar("_T")

MAX_DOCUMENT = 4 << 20
"""Largest manifest, index or config in bytes (distribution-spec asks registries for at least this much)."""

_MAX_DIGITS = 20  # of an integer: enough for 64 bits and a sign


def load(raw: bytes, what: str, limit: int = MAX_DOCUMENT) -> dict[str, Any]:
    """Read one JSON object of at most ``limit`` bytes; ``what`` names it in errors.

    Raises:
        InvalidError: the bytes break a rule of this module.
        ExhaustedError: more than ``limit`` bytes.
    """
    value = _parsed(raw, what, limit)
    if not isinstance(value, dict):
        raise InvalidError(f"{what}: expected a JSON object, found {_kind(value)}")
    return value


def load_items(raw: bytes, what: str, limit: int = MAX_DOCUMENT) -> list[Any]:
    """Read one JSON array, as :func:`load` reads an object."""
    value = _parsed(raw, what, limit)
    if not isinstance(value, list):
        raise InvalidError(f"{what}: expected a JSON array, found {_kind(value)}")
    return value


def _parsed(raw: bytes, what: str, limit: int) -> object:
    if len(raw) > limit:
        raise ExhaustedError(f"{what}: {len(raw)} bytes; documents are limited to {limit} bytes")
    try:
        text = raw.decode("utf-8")
        value: object = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_bounded,
        )
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # fails on a surrogate without its partner
    except RecursionError as error:
        raise InvalidError(f"{what}: JSON is nested too deeply") from error
    except ValueError as error:  # of JSON, of UTF-8, and of the hooks below
        raise InvalidError(f"{what}: not valid JSON in UTF-8: {printable(str(error))}") from error
    return value


class Record(NamedTuple):
    """A JSON object whose names are known, read field by field with the type that each must have.

    ``null`` counts as absent, as it does for those who write these documents; a required field is then missing.

    Attributes:
        fields: the object.
        what: names it in errors.
    """

    fields: dict[str, Any]
    what: str

    @classmethod
    def of(cls, value: object, what: str, known: frozenset[str]) -> Self:
        """Take ``value`` for an object that has the ``known`` names, and none of them in another spelling.

        Raises:
            InvalidError: not an object, or a name that differs from a known one by case only.
        """
        if not isinstance(value, dict):
            raise InvalidError(f"{what}: expected an object, found {_kind(value)}")
        folded = {name.casefold(): name for name in known}
        for name in value.keys() - known:
            if name.casefold() in folded:
                raise InvalidError(f"{what}: {printable(name)!r} is a misspelt {folded[name.casefold()]!r}")
        return cls(value, what)

    def at(self, name: str) -> str:
        """Name a field in an error."""
        return f"{self.what}: {name}"

    def has(self, name: str) -> bool:
        """Whether the field is there, even as ``null``."""
        return name in self.fields

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; without a ``default`` it is required."""
        value = self._get(name, str, "a string")
        return self._required(name, default) if value is None else str(value)

    def whole(self, name: str) -> int:
        """Return a required integer from 0 to 2⁶³-1."""
        value = self._required(name, self._get(name, int, "an integer"))
        if isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise InvalidError(f"{self.at(name)}: expected an integer from 0 to 2^63-1, found {json.dumps(value)}")
        return int(value)

    def items(self, name: str) -> list[Any]:
        """Return a required array."""
        return self._required(name, self._get(name, list, "an array"))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings, empty where absent."""
        values = self._get(name, list, "an array of strings") or []
        return tuple(_checked(value, f"{self.at(name)}[{index}]") for index, value in enumerate(values))

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of an object that serves as a set, empty where absent."""
        return tuple(self._get(name, dict, "an object") or ())

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object of strings, empty where absent."""
        values = self._get(name, dict, "an object of strings") or {}
        return {key: _checked(value, f"{self.at(name)}[{printable(key)!r}]") for key, value in values.items()}

    def _get(self, name: str, kind: type, expected: str) -> Any:
        value = self.fields.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise InvalidError(f"{self.at(name)}: expected {expected}, found {_kind(value)}")

    def _required(self, name: str, value: _T | None) -> _T:
        if value is None:
            raise InvalidError(f"{self.at(name)} is missing")
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r} stands twice in one object")
    return fields


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{printable(text, 40)} is out of range")
    return value


def _bounded(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _checked(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(f"{what}: expected a string, found {_kind(value)}")
    return value


def _kind(value: object) -> str:
    """Name a value's JSON type."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
