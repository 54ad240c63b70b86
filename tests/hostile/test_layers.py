"""Hostile layers end to end: from the blob through each driver to what the kernel shows, beside a sentinel.

After every one of them the sentinel, the database, the folders, the mounts and the open files are as they were before.
"""

import pytest

from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from tests.hostile.arena import Arena
from tests.hostile.case import Case
from tests.hostile.table import CASES

DRIVERS = (ErofsSnapshotter, NativeSnapshotter)
LIKE_NATIVE = pytest.param(OverlaySnapshotter, marks=pytest.mark.long)  # in all but how layers are laid over another


EACH = [
    pytest.param(case, id=f"{case.row} {case.name}", marks=[pytest.mark.long] if case.takes_long else [])
    for case in CASES
]


@pytest.mark.parametrize("arena", [*DRIVERS, LIKE_NATIVE], indirect=True, ids=lambda kind: kind.driver)
@pytest.mark.usefixtures("inside_the_sentinel")
@pytest.mark.parametrize("case", EACH)
def test_a_hostile_layer_harms_nothing(arena: Arena, case: Case) -> None:
    arena.hold(case)
