"""The snapshotters that a person may choose, the best first; ``auto``: the best that works."""

from typing import Literal, TypeAlias, get_args

DriverChoice: TypeAlias = Literal["auto", "erofs", "overlay", "native"]

DRIVER_CHOICES: tuple[str, ...] = get_args(DriverChoice)
