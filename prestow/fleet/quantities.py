"""How a fleet file writes amounts: durations, sizes, and shares of a number of hosts.

Each amount is a text or a number:

    duration ::= ( number unit )+          unit: s, m, h, d, w          "90s", "1h30m", "14d"
    size     ::= number [ unit ]           unit: KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (of 1024)
    share    ::= number | number "%"       hosts, or a part of all hosts
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:[0-9]{1,6}(?:\.[0-9]{1,3})?[smhdw])+")
_PART = re.compile(r"([0-9.]+)([smhdw])")
_POWERS: dict[str, int] = {
    "": 1, "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}  # fmt: skip
_SIZE = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,3})?) ?([KMGT]?i?B?)")
_SHARE = re.compile(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]{1,2})?)%")
_WHOLE = 100


def parse_duration(value: object) -> float:
    """Return the seconds of a duration such as ``1h30m``.

    Raises:
        ValueError: it is none; a number alone has no unit.
    """
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("expected a duration with its unit, such as 90s, 40m, 3h or 14d")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))


def parse_size(value: object) -> int:
    """Return the bytes of a size such as ``10GiB``; a whole number is bytes.

    Raises:
        ValueError: it is none.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in _POWERS:
        raise ValueError("expected a size, such as 500MB or 10GiB")
    return round(float(match[1]) * _POWERS[match[2]])


Duration = Annotated[
    float,
    BeforeValidator(lambda value: value if isinstance(value, float) else parse_duration(value)),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["40m", "3h", "14d"]}),
]
"""Seconds, written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["500MB", "10GiB"]}),
]
"""Bytes, written with a unit or as a whole number."""


@dataclass(frozen=True, slots=True)
class Share:
    """A number of hosts, or a part of all hosts.

    >>> Share.parse("10%").of(25), Share.parse(4).of(25)
    (3, 4)
    """

    amount: float
    percent: bool

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a share.

        Raises:
            ValueError: it is none.
        """
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        match = _SHARE.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match[2] is not None and float(match[2]) > _WHOLE):
            raise ValueError("expected a number of hosts or a percentage up to 100%, such as 5 or 10%")
        return cls(float(match[1] or match[2]), match[2] is not None)

    def of(self, hosts: int) -> int:
        """Return how many of so many hosts that is: a part is rounded up, and at most all."""
        return min(hosts, math.ceil(hosts * self.amount / _WHOLE) if self.percent else int(self.amount))

    def __str__(self) -> str:
        """Return it as a file has it."""
        return f"{self.amount:g}{'%' if self.percent else ''}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read and write it."""
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it."""
        return {"type": ["string", "integer"], "examples": [1, "10%"]}
