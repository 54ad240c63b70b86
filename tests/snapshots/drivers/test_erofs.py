"""The erofs driver: the suite for any snapshotter."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from tests.conformance import snapshotter
from tests.conformance.bench import Bench


@pytest.mark.parametrize("law", snapshotter.SUITE, ids=snapshotter.name)
def test_erofs_keeps(law: Callable[[Bench], None], place: Path) -> None:
    with Bench(place / "store", ErofsSnapshotter) as bench:
        law(bench)
