"""Runtime specs: the ``config.json`` of a bundle (runtime-spec 1.0.2, config.md).

A :class:`Spec` is the document's text in one canonical form: names sorted, two spaces, UTF-8. Equal containers have
equal bytes, so a bundle that was written before is recognised by comparing them.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from prestow.errors import InvalidError
from prestow.oci.document import MAX_DOCUMENT, load

OCI_VERSION = "1.0.2"
STOP_SIGNAL = "org.opencontainers.image.stopSignal"
"""Annotation that names the signal which asks the container's process to end."""

_SECTIONS = {"ociVersion": str, "process": dict, "root": dict, "mounts": list, "annotations": dict, "linux": dict}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount in the container's mount namespace (config.md, "Mounts"); not yet one of ours.

    Attributes:
        destination: absolute path in the container.
        type: of the file system; ``bind`` for a path of the host.
        source: path of the host, or the device's name.
        options: as mount(8) has them.
    """

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the mount as the spec has it."""
        return {
            "destination": self.destination,
            "type": self.type,
            "source": self.source,
            "options": list(self.options),
        }


@dataclass(frozen=True, slots=True)
class Spec:
    """A runtime spec; compares and hashes by its text.

    Attributes:
        text: the document in canonical form; use :meth:`of` or :meth:`from_json`. May hold secrets; in no ``repr``.
        warnings: sentences on what was asked for, by the image, and not done.
    """

    text: str = field(repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], warnings: Iterable[str] = ()) -> Self:
        """Make a spec of a JSON-ready document.

        Raises:
            InvalidError: more than 4 MiB, or a text that is not Unicode.
        """
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidError("runtime spec: a text in it is not valid Unicode") from error
        if size > MAX_DOCUMENT:
            raise InvalidError(
                f"runtime spec: {size} bytes; at most {MAX_DOCUMENT} are written: give it fewer settings"
            )
        return cls(text, tuple(warnings))

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read a ``config.json``.

        Raises:
            InvalidError: not JSON, or without the sections that every spec of ours has.
            ExhaustedError: more than 4 MiB.
        """
        document = load(raw, "runtime spec")
        for name, kind in _SECTIONS.items():
            if not isinstance(document.get(name), kind):
                raise InvalidError(f"runtime spec: {name} is missing or of the wrong type; recreate the bundle")
        return cls.of(document)

    def to_json(self) -> bytes:
        """Return the bytes of ``config.json``."""
        return self.text.encode()

    @property
    def document(self) -> dict[str, Any]:
        """The document, as a new copy."""
        document: dict[str, Any] = json.loads(self.text)
        return document

    @property
    def terminal(self) -> bool:
        """Whether the process wants a terminal."""
        return self.document["process"].get("terminal") is True

    def values(self, names: Collection[str]) -> list[str]:
        """Return the values of the process's variables that have these names."""
        variables = (str(entry).partition("=") for entry in self.document["process"].get("env", ()))
        return [value for name, _, value in variables if name in names]

    @property
    def stop_signal(self) -> str:
        """The signal that asks the process to end, in the image's words; may be empty, may be nonsense."""
        return str(self.document["annotations"].get(STOP_SIGNAL, ""))
