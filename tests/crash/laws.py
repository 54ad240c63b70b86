"""What must be so after a crash or a failure, whatever verb it hit, and wherever.

what was said to be done is                      every blob that is visible is whole, every name's image complete
the same command succeeds                        and fetches nothing again of which the store had all
then all is in order, nothing is in quarantine
what is taken away leaves nothing                no file, no row, no mount
"""

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from prestow.content.plan import holds_blob
from prestow.content.process_identity import uptime
from prestow.digest import Digest
from prestow.errors import PrestowError
from prestow.fsck.run import fsck
from prestow.metadata.leases import Leases
from prestow.oci.descriptor import Descriptor
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.snapshots.damage import Damage
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import Node
from tests.crash.verbs import Job, Verb, clear, holds
from tests.registries import DockerRegistry

# index.json, and the files of containers, may be behind the database or ahead of it until the next change is written.
_BEHIND = frozenset({"name", "containers"})
_LONG = 365 * 24 * 3600.0
_TABLES = ("images", "generations", "containers", "snapshots", "leases", "lease_resources")
_PERMANENT = (
    "*.json", "names.log", "metadata.db", "metadata.db-*", "*.lock", "content/oci-layout", "content/index.json",
    "ingest/.locks/*", "prefect/results/*", "snapshots/*.json", "snapshots/*/.lock", "snapshots/*/.locks/*",
    "snapshots/*/.looked", "registries/*/*",
)  # fmt: skip
_FOLDERS = (
    "bundles", "bundles/.running", "bundles/.underway", "containers",
    "content", "content/blobs", "content/blobs/sha256", "ingest", "ingest/.locks", "looks",
    "prefect", "prefect/results", "prefect/runs", "registries", "registries/*", "runtime", "snapshots",
    "snapshots/*", "snapshots/*/.locks", "snapshots/*/.new", "snapshots/*/.mounts", "trash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Laws:
    """The laws for one verb on one store; ``target`` is what the reference stands for, which is always asked."""

    job: Job
    verb: Verb
    registry: DockerRegistry
    target: Descriptor

    def check(self, told: Sequence[str], *, full: bool = False) -> None:
        """Hold the store against them.

        Args:
            told: what was said to be done.
            full: whether the disk was; files that are derived from the database then wait for the next prune.
        """
        self.kept(told)
        self.again(behind=_BEHIND if full else frozenset())
        self.gone()

    def kept(self, told: Sequence[str]) -> None:
        """What was done stays done; and nothing half done is visible."""
        self._done(told)
        if not self.verb.repairs:
            _none(_damaged(self.job.node, _BEHIND))

    def again(self, behind: AbstractSet[str]) -> None:
        """The same command succeeds, and fetches nothing that was here."""
        words: list[str] = []
        node = self.job.node
        with self.registry.without((_complete(node) | self._needless(node)) - {self.target.digest}):
            self.verb.run(Job(self.job.home, self.job.reference, words.append, self.job.driver))
        self._done(words)
        _none(_damaged(node, behind))
        if not self.verb.repairs:
            _none([*node.content.quarantine_area.list(), *node.leases.list()])

    def gone(self) -> None:
        """What is taken away leaves nothing."""
        node = self.job.node
        later = Leases(node.database, lambda: time.time() + _LONG, since_boot=lambda: uptime() + _LONG)
        later.purge()  # the leases of repairs with nothing left to do
        clear(self.job)
        _none(_damaged(node))
        _none([tuple(row) for table in _TABLES for row in node.database.read(f"SELECT * FROM {table}")])
        _none(mounts_below(node.home))
        _none(_litter(node.home, spared="quarantine" if self.verb.repairs else self.verb.leaves))

    def _needless(self, node: Node) -> set[Digest]:
        """Return the layers that are not needed, where their diff blobs will do and are here."""
        if node.settings.keep_blobs:
            return set()
        try:
            layers = find_image(node.content, self.target, host()).layers
        except PrestowError:
            return set()
        return {layer.descriptor.digest for layer in layers if holds_blob(node.content, layer, keep_blobs=False)}

    def _done(self, told: Sequence[str]) -> None:
        _none([word for word in told if not holds(self.job, word)])


def _none(found: Sequence[object]) -> None:
    assert not found, found


def _damaged(node: Node, but: AbstractSet[str] = frozenset()) -> list[Damage]:
    return [damage for each in fsck(node, None).every for damage in each.left if damage.kind not in but]


def _complete(node: Node) -> set[Digest]:
    """Return the blobs of which the store has all, as such or as ingests."""
    here = {blob.digest for blob in node.content.walk() if _sound(node, blob.digest)}
    return here | {digest for digest in map(_fetched, node.content.ingests.glob("*/data")) if digest is not None}


def _fetched(data: Path) -> Digest | None:
    """Return what an ingest is of, if it has all of that."""
    kind, _, digest = data.with_name("ref").read_text().partition("-")
    return Digest(digest) if kind == "layer" and Digest.of(data.read_bytes()) == digest else None


def _sound(node: Node, digest: Digest) -> bool:
    try:
        return bool(node.content.check(digest))
    except PrestowError:
        return False


def _litter(home: Path, *, spared: str) -> list[str]:
    """Return what is neither permanent nor one of the store's own folders."""
    found = [path for path in home.rglob("*") if not spared or spared not in path.relative_to(home).parts]
    known = {path for pattern in (*_PERMANENT, *_FOLDERS) for path in home.glob(pattern)}
    return sorted(str(path.relative_to(home)) for path in found if path not in known)
