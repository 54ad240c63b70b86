"""All the drivers that there are, the best first."""

from pathlib import Path

from prestow.metadata.database import Database
from prestow.snapshots.chain import Blobs, Scan
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter

KINDS = (ErofsSnapshotter, OverlaySnapshotter, NativeSnapshotter)


def drivers(home: Path, database: Database, content: Blobs, *, durable: bool, scan: Scan) -> tuple[Driver, ...]:
    """Open each of them in a store, whether it works here or not; as :class:`.driver.Driver`."""
    root, trash = home / "snapshots", home / "trash"
    return tuple(kind(root, database, content, trash=trash, durable=durable, scan=scan) for kind in KINDS)
