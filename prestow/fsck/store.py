"""Taking stock of a whole store: every check of its books, as one verification, and making right what disagrees."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import PrestowError
from prestow.fsck.containers import containers
from prestow.fsck.database import database
from prestow.fsck.files import files
from prestow.fsck.finding import Finding
from prestow.fsck.image import CheckResult, present
from prestow.fsck.names import names
from prestow.fsck.repair import Outcome, RepairResult
from prestow.fsck.retry import repair_lock
from prestow.fsck.snapshots import snapshots
from prestow.metadata.images import Images
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.oci.walk import children, parse_document
from prestow.snapshots.damage import DamageKind, Subject
from prestow.snapshots.remove import remove_tree
from prestow.store.node import Node


def fsck_store(node: Node, *, progress: Progress | None = None) -> CheckResult:
    """Compare names, rows and disk, and hash the blobs that no name leads to.

    Raises:
        StorageError: the disk or the database failed.
    """
    return _taken(node, progress)[1]


def repair_names(node: Node) -> RepairResult:
    """Make right what the database and ``index.json`` disagree in, from which it is known what images there are.

    Raises:
        UnavailableError: another repair has been under way all the time.
        StorageError: the disk or the database failed.
    """
    with repair_lock(node):
        return _mended(lambda: _books(node))


def repair_store(node: Node, *, unsure: bool = False, progress: Progress | None = None) -> RepairResult:
    """Take stock, make right what disagrees, and remove what has been in quarantine for long enough.

    Args:
        node: the store.
        unsure: whether an image is still damaged: what else belongs to it is then unknown, and stays.
        progress: told of bytes as they are read.

    Raises:
        UnavailableError: another repair has been under way all the time.
        StorageError: the disk or the database failed.
    """
    with repair_lock(node):
        for held in node.content.quarantine_area.old():
            remove_tree(held.folder)
        return _mended(lambda: _taken(node, progress, unsure=unsure))


def joined(first: RepairResult, second: RepairResult) -> RepairResult:
    """Return two repairs of the books as one; what was found last counts for what is damaged still."""
    damaged = first.found.damaged + second.found.damaged
    return RepairResult(replace(second.found, damaged=damaged), first.mended + second.mended, second.left)


def _mended(take: Callable[[], tuple[list[Finding], CheckResult]]) -> RepairResult:
    findings, found = take()
    mended: dict[Subject, Outcome] = {}
    left = found
    while news := [finding for finding in findings if finding.damage.name not in mended]:
        mended |= {finding.damage.name: finding.mended() for finding in news}
        findings, left = take()  # what a damaged database said was not compared with anything
    return RepairResult(found, tuple(mended.values()), left.damaged)


def _books(node: Node) -> tuple[list[Finding], CheckResult]:
    """Look at the database and the names alone."""
    findings = list(database(node)) or list(names(node))
    return findings, CheckResult("", "", None, 0, 0, 0, tuple(finding.damage for finding in findings))


def _taken(node: Node, progress: Progress | None, *, unsure: bool = False) -> tuple[list[Finding], CheckResult]:
    """Take stock once."""
    read: list[int] = []

    def count(count: int) -> None:
        read.append(count)
        if progress is not None:
            progress(count)

    findings, found = _books(node)
    if any(finding.damage.kind is DamageKind.DATABASE for finding in findings):
        return findings, found
    blobs = [blob.digest for blob in node.content.walk()]
    named = frozenset(blobs if unsure else _named(node))
    findings += [*files(node, named, count), *snapshots(node, unsure=unsure), *containers(node)]
    others = sum(blob not in named for blob in blobs)
    damaged = tuple(finding.damage for finding in findings)
    return findings, CheckResult("", "", None, others, len(node.snapshots()), sum(read), damaged)


def _named(node: Node) -> Iterator[Digest]:
    """Yield the blobs that a name leads to, as far as documents can be read: those are verified with their images."""
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
