"""The database itself: whether the file is whole, and whether its rows refer to rows that are there."""

from collections.abc import Iterator
from functools import partial

from prestow.fsck.contradictions import contradictions
from prestow.fsck.finding import Finding
from prestow.metadata.soundness import faults
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.store.node import Node


def database(node: Node) -> Iterator[Finding]:
    """Let SQLite look through the file; until it is well, nothing that it says is worth comparing."""
    if found := faults(node.database) or list(contradictions(node)):
        what = f"contradicts itself: {found[0]}"
        damage = Damage(DamageKind.DATABASE, Subject.file(node.database.path), what)
        how = "rebuilt from the files on disk, the old one moved to quarantine"
        yield Finding(damage, how, partial(node.database.rebuild, found[0]))
