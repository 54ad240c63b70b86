"""The runtimes of a host that a person may hand images over to; ``auto``: the one that is there."""

from typing import Literal, TypeAlias, get_args

RuntimeChoice: TypeAlias = Literal["none", "auto", "containerd"]

RUNTIME_CHOICES: tuple[str, ...] = get_args(RuntimeChoice)
