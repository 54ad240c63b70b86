"""The runtimes of a host that a person may hand images over to, and where containerd is; standard library only.

The settings have the same names and defaults, and are checked there; but reading all of them takes longer than asking
containerd.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from config.home import config_file

RuntimeChoice: TypeAlias = Literal["none", "auto", "containerd", "docker", "podman"]
"""``auto``: the one that the setting ``hand_over`` names, else containerd if it is there, else podman."""

RUNTIME_CHOICES: tuple[str, ...] = get_args(RuntimeChoice)

ADDRESS, NAMESPACE = Path("/run/containerd/containerd.sock"), "k8s.io"


@dataclass(frozen=True, slots=True)
class ContainerdPlace:
    """Which containerd, and what of it.

    Attributes:
        address: its socket.
        namespace: of its images and containers.
        snapshotter: which these containers use; None to ask.
    """

    address: Path
    namespace: str
    snapshotter: str | None


def containerd_place() -> ContainerdPlace:
    """Read the three settings.

    Raises:
        ValueError: the settings file cannot be read.
    """
    return ContainerdPlace(
        Path(plain_setting("containerd_address") or ADDRESS),
        plain_setting("containerd_namespace") or NAMESPACE,
        plain_setting("runtime_snapshotter"),
    )


def named_runtime() -> str | None:
    """Return the runtime that the setting ``hand_over`` names; None if it names none.

    Raises:
        ValueError: the settings file cannot be read.
    """
    found = plain_setting("hand_over")
    return found if found in RUNTIME_CHOICES and found not in ("none", "auto") else None


def plain_setting(name: str) -> str | None:
    """Return a setting as it is written, in the environment or else in the file; None if it is in neither.

    Raises:
        ValueError: the settings file cannot be read.
    """
    if (value := os.environ.get(f"PRESTOW_{name.upper()}")) is not None:
        return value
    import tomllib  # takes long, and the variable may have said it all

    path = config_file()
    try:
        found = tomllib.loads(Path(path).read_text("utf-8")).get(name)
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"settings file {path}: {error}") from error
    return None if found is None else str(found)
