"""Names: ``index.json`` says what the database says.

The database has the names; the file is derived from it. A name that only the file has was tagged by a process that
died before the database took it, or by another tool, or a full disk kept it there after it was removed: if what it
stands for is here, it comes back, since a name too many does less harm than an image lost.
"""

from collections.abc import Iterator
from functools import partial

from prestow.errors import PrestowError
from prestow.fsck.finding import Finding
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.layout_index import Named, read_index
from prestow.metadata.publish import changing_names, publish_names
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.store.node import Node

_WRITTEN = "index.json was written again"


def names(node: Node) -> Iterator[Finding]:
    """Compare the names, both read at one moment, in which no process changes any."""
    path = node.content.root / "index.json"
    try:
        with node.database.transaction():
            rows = {(image.namespace, image.name): image for image in Images(node.database).every()}
            listed = {(image.namespace, image.name): image for image in read_index(node.content.root)}
    except PrestowError as error:
        damage = Damage(DamageKind.INDEX_FILE, Subject.file(path), f"cannot be read: {error}")
        yield Finding(damage, _WRITTEN, partial(_publish, node))
        return
    for key in sorted(rows.keys() | listed.keys()):
        row, entry = rows.get(key), listed.get(key)
        if entry is None or (row is not None and not _same(row, entry)):
            what = "is not in index.json" if entry is None else "has another digest, or other labels, in index.json"
            yield Finding(Damage(DamageKind.NAME, Subject.name(*key), what), _WRITTEN, partial(_publish, node))
        elif row is None:
            yield _unknown(node, entry)


def _unknown(node: Node, entry: Named) -> Finding:
    """Judge a name that only ``index.json`` has."""
    subject = Subject.name(entry.namespace, entry.name)
    if node.content.has(entry.target.digest, entry.target.size):
        damage = Damage(DamageKind.NAME, subject, "is in index.json, and not in the database")
        return Finding(damage, "the name is in the database again", partial(_restore, node, entry))
    damage = Damage(DamageKind.NAME, subject, "is in index.json, and neither in the database nor in the store")
    return Finding(damage, _WRITTEN, partial(_publish, node))


def _restore(node: Node, entry: Named) -> None:
    with changing_names(node.database, node.content):
        images = Images(node.database, entry.namespace)
        images.put(entry.name, entry.target)
        images.label(entry.name, entry.labels)
    publish_names(node.database, node.content, whole=True)


def _publish(node: Node) -> None:
    path = node.content.root / "index.json"
    if not path.is_file():
        node.content.quarantine_area.take(path, "is no file")
    publish_names(node.database, node.content, whole=True)


def _same(row: ImageRecord, entry: Named) -> bool:
    one, other = row.target, entry.target
    same = (one.digest, one.media_type, one.size) == (other.digest, other.media_type, other.size)
    return same and dict(row.labels) == dict(entry.labels)
