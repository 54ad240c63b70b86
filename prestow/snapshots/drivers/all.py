"""All the drivers that there are, the best first.

A new driver is a module beside this one, a line in ``KINDS``, its name among the choices of ``config.drivers``, and a
test that runs ``tests/conformance/snapshotter.py``.
"""

from pathlib import Path

from prestow.metadata.database import Database
from prestow.snapshots.chain import Blobs, Scan
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from prestow.snapshots.maintained import Maintained

KINDS: tuple[type[Driver], ...] = (ErofsSnapshotter, OverlaySnapshotter, NativeSnapshotter)


def kinds() -> dict[str, type[Driver]]:
    """Return the drivers by name."""
    return {kind.driver: kind for kind in KINDS}


def drivers(home: Path, database: Database, content: Blobs, *, durable: bool, scan: Scan) -> tuple[Maintained, ...]:
    """Open each of them in a store, whether it works here or not; as :class:`.driver.Driver`."""
    root, trash = home / "snapshots", home / "trash"
    return tuple(kind(root, database, content, trash=trash, durable=durable, scan=scan) for kind in KINDS)
