"""Digests: the name of bytes, by their bytes (image-spec, descriptor.md, "Digests").

    digest    ::= algorithm ":" encoded
    algorithm ::= "sha256" | "sha512"             the two that the specification registers
    encoded   ::= lower-case hex digits, 64 or 128 of them

>>> Digest.parse("sha256:" + "0" * 64).short
'sha256:000000000000'
"""

import hashlib
import re
from typing import Self

from prestow.errors import InvalidError, UnsupportedError, printable

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
ALGORITHMS = tuple(_HEX_LENGTH)
_GRAMMAR = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


class Digest(str):
    """A digest that was checked against the grammar; compares, hashes and prints as its text."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Check a text from outside.

        Raises:
            InvalidError: not of the form ``algorithm:hex`` with the right number of lower-case digits.
            UnsupportedError: an algorithm other than sha256 and sha512.
        """
        match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidError(
                f"digest {printable(str(text))!r}: expected algorithm:hex, such as sha256:<64 hex digits>"
            )
        algorithm, encoded = match.groups()
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise UnsupportedError(
                f"digest {printable(match[0])!r}: unsupported algorithm; supported are sha256, sha512"
            )
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise InvalidError(
                f"digest {printable(match[0])!r}: expected {length} lower-case hex digits after {algorithm}:"
            )
        return cls(match[0])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Compute the digest of bytes in memory."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The hex digits."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """Twelve digits for people: logs, tables, names of task runs."""
        return f"{self.algorithm}:{self.encoded[:12]}"

    def digester(self) -> "Digester":
        """Return a sink of this digest's algorithm, to be compared with it when all bytes went through."""
        return Digester(self.algorithm)


class Digester:
    """A sink: write bytes in order, then ask for the digest."""

    def __init__(self, algorithm: str = "sha256") -> None:
        """Start an empty digest of ``algorithm``."""
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def write(self, data: bytes | memoryview | bytearray) -> None:
        """Add bytes (releases the GIL beyond 2 KiB)."""
        self._hash.update(data)

    def digest(self) -> Digest:
        """Return the digest of all bytes written so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")
