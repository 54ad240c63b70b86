"""podman's command line, of which three questions are asked; it answers them in JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from prestow.errors import RuntimeFailedError, printable
from prestow.handover.program import ask, find_program


@dataclass(frozen=True, slots=True)
class Known:
    """An image as podman lists it.

    Attributes:
        id: hex digits of the config's digest.
        names: that stand for it.
        read_only: whether it is in an additional store.
    """

    id: str
    names: tuple[str, ...]
    read_only: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A container of podman's.

    Attributes:
        name: of the container.
        image: hex digits of the config's digest of its image.
        created: seconds since the epoch.
    """

    name: str
    image: str
    created: float


class Program:
    """podman, with the configuration that it finds itself."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._known: list[Known] | None = None

    @property
    def version(self) -> str:
        """Its version."""
        binary = find_program("podman")
        return _version(binary, binary.stat().st_mtime_ns if binary is not None else 0)

    @cached_property
    def driver(self) -> str:
        """Its storage driver, as a rule ``overlay``."""
        return self._storage[0]

    @cached_property
    def config_file(self) -> str:
        """The file with its storage configuration."""
        return self._storage[1]

    @cached_property
    def _storage(self) -> tuple[str, str]:
        found = self._read("info", "--format", "{{json .Store}}")
        return printable(str(found["graphDriverName"]), 40), printable(str(found["configFile"]))

    def images(self, *, anew: bool = False) -> list[Known]:
        """Return the images of all of its stores, as they were when it was last asked, or ``anew``."""
        if self._known is None or anew:
            found = self._read("images", "--no-trunc", "--format", "json") or []
            self._known = [
                Known(each["Id"], tuple(each.get("Names") or ()), bool(each.get("ReadOnly"))) for each in found
            ]
        return self._known

    def containers(self) -> list[Box]:
        """Return all containers, those that do not run among them."""
        found = self._read("ps", "--all", "--external", "--no-trunc", "--format", "json") or []
        return [Box(_name(each), str(each.get("ImageID") or ""), _seconds(each.get("Created"))) for each in found]

    def untag(self, names: Iterable[str]) -> None:
        """Take names from images of podman's own store."""
        for name in names:
            ask("podman", "untag", name, name)

    def _read(self, *words: str) -> Any:
        text = ask("podman", *words)
        try:
            return json.loads(text or "null")
        except ValueError as error:
            raise RuntimeFailedError(f"podman {words[0]}: expected JSON, not {printable(text, 80)!r}") from error


@cache
def _version(binary: Path | None, changed: int) -> str:  # noqa: ARG001 - another file, another version
    return printable(ask("podman", "version", "--format", "{{.Client.Version}}").strip(), 40)


def _name(container: dict[str, Any]) -> str:
    names = container.get("Names") or [container.get("Id", "")]
    return printable(str(names[0]))


def _seconds(created: object) -> float:
    """Read a time, which versions of podman tell as a number or as a text."""
    if isinstance(created, int | float):
        return float(created)
    try:
        return datetime.fromisoformat(str(created)).timestamp()
    except ValueError:
        return 0.0
