r"""One hostile layer: the row of the table of threats that it belongs to, its bytes, and what must come of it.

What an image shows is told in words, one a name, sorted:

    d/            a directory             c:c1,3        a character device; b: a block device
    f=text        a file and its content  p|            a pipe
    f=#9000       a larger one            l->target     a symlink

Bytes that are not plain ASCII, and what has a meaning here, are written ``\xff``.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prestow.errors import InvalidError, PrestowError
from prestow.layers.limits import Limits
from tests.image_factory import compress, layer_type
from tests.tar_builder import Tar

VICTIM = Path(tempfile.gettempdir()).resolve() / f"prestow-victim-{os.getpid()}"
"""The folder outside every root that layers reach for; the fixture ``victim`` makes it."""

CLIMB = "../" * 40 + str(VICTIM).lstrip("/")
"""The same from anywhere."""

_LONGEST_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer as it travels.

    Attributes:
        data: its bytes.
        media_type: what it is said to be.
        tar: what it decompresses to, or should.
        said: what its diff ID is of, where that is something else.
    """

    data: bytes
    media_type: str
    tar: bytes = b""
    said: bytes | None = None


Made = Tar | bytes | Blob
Layer = Made | Callable[[], Made]
"""A tar, which is sent compressed by gzip; or a blob; or what makes one, where that takes long."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A layer that is an error; nothing of it is ever seen.

    Attributes:
        error: class of the error.
        word: part of its message.
    """

    error: type[PrestowError]
    word: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A layer that means something harmless.

    Attributes:
        shows: all that the image shows; None where that is too much to write down.
        also: whether something else holds of the mounted image.
        dropped: extended attributes that are left out, with a word.
    """

    shows: str | None
    also: Callable[[Path], bool] = field(default=lambda _: True)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A named hostile image.

    Attributes:
        row: row of the table.
        name: what is hostile about it.
        layers: lowest first.
        outcome: what must come of it.
        limits: what a layer may be.
    """

    row: str
    name: str
    layers: Sequence[Layer]
    outcome: Refused | Accepted
    limits: Limits = field(default_factory=Limits)

    @property
    def takes_long(self) -> bool:
        """Whether making it, or what it asks for, takes long."""
        return any(callable(layer) for layer in self.layers)

    def blobs(self) -> list[Blob]:
        """Make the layers."""
        return [_blob(layer) for layer in self.layers]


def refused(
    row: str,
    name: str,
    *layers: Layer,
    word: str,
    error: type[PrestowError] = InvalidError,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Case:
    """Return a case that must be an error."""
    return Case(row, name, layers, Refused(error, word), limits)


def accepted(
    row: str,
    name: str,
    *layers: Layer,
    shows: str | None,
    also: Callable[[Path], bool] = lambda _: True,
    dropped: Sequence[str] = (),
) -> Case:
    """Return a case that must show something."""
    return Case(row, name, layers, Accepted(shows, also, tuple(dropped)))


def zipped(tar: Tar | bytes, compression: str) -> Blob:
    """Return a layer as it should be."""
    data = tar if isinstance(tar, bytes) else tar.to_bytes()
    return Blob(compress(data, compression), layer_type(compression), data)


def word(text: bytes) -> str:
    """Write bytes as one word."""
    special = b"\\ =|"
    return "".join(chr(byte) if 33 <= byte < 127 and byte not in special else f"\\x{byte:02x}" for byte in text)


def content_word(data: bytes) -> str:
    """Write the content of a file as one word."""
    return word(data) if len(data) <= _LONGEST_SHOWN else f"#{len(data)}"


def folders(path: str | Path) -> str:
    """Write the directories of a path that leads into the image."""
    parts = str(path).strip("/").split("/")
    return " ".join("/".join(parts[: count + 1]) + "/" for count in range(len(parts)))


def _blob(layer: Layer) -> Blob:
    made = layer() if callable(layer) else layer
    return made if isinstance(made, Blob) else zipped(made, "gzip")
