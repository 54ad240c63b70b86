"""The newest tag that a tag with ``*`` means, in the order of semantic versioning (semver.org, 2.0.0).

    tag     ::= [ prefix ] part ( "." part ){0,2} [ "-" rest ]
    part    ::= number | "*"                  in a part "*" is a number; as the last part it is all further parts
    prefix  ::= letters and . _ -             such as "v"
    rest    ::= the tag's, with "*" for any characters

    1.8.*           1.8.4, 1.8.10                  not 1.9.0, not 1.8.11-rc.1
    v1.*            v1.9, v1.10.2
    1.8.*-alpine    1.8.4-alpine
    1.9.*-rc.*      1.9.0-rc.2                     a pre-release is taken only if the pattern has its "-"

Tags that are no versions, such as ``latest``, are never taken. Parts that a tag lacks count as 0; among equals, the tag
with more parts is taken, because it moves less.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from semver import Version

from prestow.errors import InvalidError, NotFoundError, printable

_PATTERN = re.compile(
    r"(?P<prefix>(?:[A-Za-z_][A-Za-z_.-]*)?)(?P<core>[0-9*]+(?:\.[0-9*]+){0,2})(?P<rest>-.+)?", re.ASCII
)
_NUMBER = r"(?:0|[1-9][0-9]*)"
_SHOWN = 10  # tags in an error


@dataclass(frozen=True)
class TagPattern:
    """A tag with ``*``.

    >>> TagPattern.parse("1.8.*").newest(["1.8.4", "1.8.10", "1.9.0", "latest"], "example/app")
    '1.8.10'

    Attributes:
        text: as it was written.
        prefix: before the version.
        core: the numbers, as a regular expression.
        rest: from the ``-`` on, a shell pattern; empty if there is none.
    """

    text: str
    prefix: str
    core: re.Pattern[str]
    rest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.

        Raises:
            InvalidError: ``*`` stands for something else than parts of a version.
        """
        match = _PATTERN.fullmatch(text)
        parts = match["core"].split(".") if match else []
        if match is None or any("*" in part and part != "*" for part in parts):
            raise InvalidError(
                f"tag {printable(text)!r}: expected a version with * for whole parts, such as 1.8.* or 1.8.*-alpine"
            )
        further = rf"(?:\.{_NUMBER}){{0,{3 - len(parts)}}}" if parts[-1] == "*" else ""
        core = r"\.".join(_NUMBER if part == "*" else part for part in parts) + further
        return cls(text, match["prefix"], re.compile(core, re.ASCII), match["rest"] or "")

    def newest(self, tags: Iterable[str], repository: str) -> str:
        """Return the newest tag that matches; ``repository`` names it in errors.

        Raises:
            NotFoundError: none matches; the message names some tags that exist.
        """
        every = list(tags)
        found = [(version, tag.count("."), tag) for tag in every if (version := self.version(tag)) is not None]
        if not found:
            raise NotFoundError(
                f"no tag of {repository} matches {self.text}; {_existing(every)}; correct the tag in the fleet file"
            )
        return max(found)[2]

    def version(self, tag: str) -> Version | None:
        """Return the version that a tag is; None if it does not match."""
        core, dash, rest = tag.removeprefix(self.prefix).partition("-")
        matches = (
            tag.startswith(self.prefix)
            and self.core.fullmatch(core) is not None
            and fnmatchcase(dash + rest, self.rest)
        )
        return _version(core + dash + rest) if matches else None


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text, optional_minor_and_patch=True)
    except ValueError:
        return None


def _existing(tags: list[str]) -> str:
    """Describe what tags there are, the newest versions first."""
    if not tags:
        return "it has no tags"
    versions = {tag: version for tag in tags if (version := _version(tag.removeprefix("v"))) is not None}
    newest = sorted(versions, key=lambda tag: (versions[tag], tag), reverse=True)
    shown = [*newest, *sorted(set(tags) - versions.keys())][:_SHOWN]
    more = f" and {len(tags) - len(shown)} more" if len(tags) > len(shown) else ""
    return f"it has {', '.join(map(printable, shown))}{more}"
