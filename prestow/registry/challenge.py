"""Challenges: what a registry asks for in ``WWW-Authenticate`` (RFC 9110, sections 11.2 to 11.6), pure.

    header     ::= challenge ( "," challenge )*
    challenge  ::= scheme [ SP ( token68 | parameter ( "," parameter )* ) ]
    parameter  ::= token "=" ( word | quoted-string )

``word`` is wider than the RFC's token: some registries leave the quotes of a URL out. Everything else is strict, each
character is looked at once, and what breaks the grammar is an error rather than half a challenge.

>>> parse_challenges(['Bearer realm="https://auth.example/token",service="r"'])[0].parameters["service"]
'r'
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prestow.errors import InvalidError

_LONGEST = 8192
_MOST_PARAMETERS = 64
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = r'(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*'
_PART = re.compile(
    rf"""
      (?P<name>{_WORD})[ \t]*=[ \t]*(?:"(?P<quoted>{_TEXT})"|(?P<word>[^\s",=][^\s",]*))
    | (?P<scheme>{_WORD})(?:[ ]+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$)))?
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers.

    Attributes:
        scheme: lower case: ``bearer``, ``basic``, …
        parameters: by lower-case name: ``realm``, ``service``, ``scope``, ``error``, …
    """

    scheme: str
    parameters: Mapping[str, str]


class _Part(NamedTuple):
    """A scheme, or a parameter of the scheme before it."""

    scheme: str
    name: str
    value: str


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read all ``WWW-Authenticate`` headers of a response, in their order.

    Raises:
        InvalidError: a header breaks the grammar, repeats a parameter, or is absurdly long.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        if len(header) > _LONGEST:
            raise InvalidError(f"WWW-Authenticate header of {len(header)} characters; at most {_LONGEST} are read")
        for part in _parts(header):
            if part.scheme:
                found.append((part.scheme, {}))
            elif not found:
                raise InvalidError("WWW-Authenticate header: begins with a parameter instead of a scheme")
            else:
                _add(found[-1][1], part)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _add(parameters: dict[str, str], part: _Part) -> None:
    if part.name in parameters or len(parameters) == _MOST_PARAMETERS:
        raise InvalidError("WWW-Authenticate header: a parameter stands twice, or there are too many")
    parameters[part.name] = part.value


def _parts(header: str) -> Iterator[_Part]:
    """Split one header; parts are divided by commas, a scheme and its first parameter by spaces alone."""
    position, divided = _skip(header, 0), True
    while position < len(header):
        match = _PART.match(header, position)
        if match is None or not divided:
            raise InvalidError("WWW-Authenticate header: expected a scheme or name=value, with commas between them")
        yield _part(match)
        position = _skip(header, match.end())
        gap = header[match.end() : position]
        divided = "," in gap or (bool(gap) and match["scheme"] is not None and match["token68"] is None)


def _part(match: re.Match[str]) -> _Part:
    if match["scheme"]:
        return _Part(match["scheme"].lower(), "", "")
    quoted = match["quoted"]
    value = match["word"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
    return _Part("", match["name"].lower(), value)


def _skip(header: str, position: int) -> int:
    """Return where the next part begins, after spaces and commas (a list may have empty elements)."""
    while position < len(header) and header[position] in " \t,":
        position += 1
    return position
