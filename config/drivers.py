"""The snapshotters that a person may choose, the best first; ``auto``: the best that works."""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

DriverChoice: TypeAlias = Literal["auto", "erofs", "overlay", "native"]

MEANINGS: Mapping[DriverChoice, str] = {
    "auto": "the first of these that works on the host",
    "erofs": "one small metadata image over the layers' tars; needs Linux 6.4 and root",
    "overlay": "a directory for each layer, stacked by overlayfs; needs root",
    "native": "one directory with all files, and a full copy for each container; needs nothing",
}

DRIVER_CHOICES: tuple[str, ...] = get_args(DriverChoice)
