"""Taking stock of a whole store: every check of its books, as one verification, and making right what disagrees."""

from collections.abc import Iterator
from contextlib import suppress

from prestow.digest import Digest
from prestow.errors import PrestowError
from prestow.inventory.containers import containers
from prestow.inventory.database import database
from prestow.inventory.files import files
from prestow.inventory.finding import Finding
from prestow.inventory.names import names
from prestow.inventory.snapshots import snapshots
from prestow.metadata.images import Images
from prestow.node import Node
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.oci.walk import children, parse_document
from prestow.repair import Mended, Repaired, repairing
from prestow.snapshots.remove import remove_tree
from prestow.snapshots.snapshotter import Progress
from prestow.verify import Verification, present


def inventory(node: Node, *, progress: Progress | None = None) -> Verification:
    """Compare names, rows and disk, and hash the blobs that no name leads to.

    Raises:
        StorageError: the disk or the database failed.
    """
    return _taken(node, progress)[1]


def put_in_order(node: Node, *, progress: Progress | None = None) -> Repaired:
    """Take stock, make right what disagrees, and remove what has been in quarantine for long enough.

    Raises:
        UnavailableError: another repair has been under way all the time.
        StorageError: the disk or the database failed.
    """
    with repairing(node):
        for held in node.content.held.old():
            remove_tree(held.folder)
        findings, found = _taken(node, progress)
        mended: dict[str, Mended] = {}
        left = found
        while news := [finding for finding in findings if finding.damage.name not in mended]:
            mended |= {finding.damage.name: finding.mended() for finding in news}
            findings, left = _taken(node, progress)  # what a damaged database said was not compared with anything
        return Repaired(found, tuple(mended.values()), left.damaged)


def _taken(node: Node, progress: Progress | None) -> tuple[list[Finding], Verification]:
    """Take stock once."""
    read: list[int] = []

    def count(count: int) -> None:
        read.append(count)
        if progress is not None:
            progress(count)

    if broken := list(database(node)):
        return broken, Verification("", "", None, 0, 0, 0, tuple(finding.damage for finding in broken))
    named = frozenset(_named(node))
    findings = [*names(node), *files(node, named, count), *snapshots(node), *containers(node)]
    others = sum(blob.digest not in named for blob in node.content.walk())
    damaged = tuple(finding.damage for finding in findings)
    return findings, Verification("", "", None, others, len(node.snapshots()), sum(read), damaged)


def _named(node: Node) -> Iterator[Digest]:
    """Give the blobs that a name leads to, as far as documents can be read: those are verified with their images."""
    pending = [image.target for image in Images(node.database).every()]
    seen: set[Digest] = set()
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in seen or not present(node, descriptor.digest):
            continue
        seen.add(descriptor.digest)
        yield descriptor.digest
        with suppress(PrestowError):
            document = parse_document(node.content.read(descriptor.digest), descriptor.media_type)
            if isinstance(document, Manifest):
                yield from _of_manifest(node, document)
            else:
                pending += children(document)


def _of_manifest(node: Node, manifest: Manifest) -> Iterator[Digest]:
    yield from (child.digest for child in children(manifest))
    with suppress(PrestowError):
        yield from ImageConfig.parse(node.content.read(manifest.config.digest)).diff_ids
