"""The overlay driver: the suite for any snapshotter."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from tests.conformance import snapshotter
from tests.conformance.bench import Bench


@pytest.mark.long
@pytest.mark.parametrize("law", snapshotter.SUITE, ids=snapshotter.name)
def test_overlay_keeps(law: Callable[[Bench], None], place: Path) -> None:
    with Bench(place / "store", OverlaySnapshotter) as bench:
        law(bench)
