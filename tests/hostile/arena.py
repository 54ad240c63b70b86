"""Where hostile layers are unpacked: a store for one driver, and a sentinel outside that nothing may touch."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prestow.content.refs import layer_ref
from prestow.digest import Digest
from prestow.layers.apply import apply
from prestow.layers.limits import Limits
from prestow.layers.scans import Scans
from prestow.layers.tar.entry import Kind
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image import Image, Layer
from prestow.platforms import Platform
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.conformance.bench import Bench
from tests.hostile.case import VICTIM, Accepted, Blob, Case, Refused, accepted, content_word, word
from tests.layers.erofs.kernel import sound_image
from tests.tar_builder import Tar
from tests.trees import Listed, differences, listing

_DOCUMENT = Descriptor("application/json", Digest.of(b"{}"), 2)
_HARMLESS = accepted("", "a harmless layer", Tar().file("x", b"1"), shows="x=1")
_TABLES = ("images", "containers", "snapshots", "leases", "lease_resources")


@dataclass(frozen=True, slots=True)
class State:
    """All that a layer might leave behind: outside, in the database, on disk, as mounts, as open files."""

    outside: dict[bytes, Listed]
    rows: list[object]
    disk: set[str]
    mounts: list[str]
    descriptors: int


@dataclass
class Arena:
    """One driver's store, and the sentinel."""

    bench: Bench
    dropped: list[str] = field(default_factory=list)
    last: State | None = None

    def warm_up(self) -> None:
        """Let the store make what it has from its first image on."""
        self._show(_HARMLESS, Accepted("x=1"))
        self.clear()

    def hold(self, case: Case) -> None:
        """Unpack an image; see that what must come of it comes of it, and that nothing is left then."""
        before, self.last = self.last or self.state(), None
        self.dropped.clear()
        try:
            match case.outcome:
                case Refused() as outcome:
                    self._refuse(case, outcome)
                case Accepted() as outcome:
                    self._show(case, outcome)
        finally:
            self.clear()
        after = self.state()
        for name in State.__slots__:
            assert (name, getattr(after, name)) == (name, getattr(before, name))
        self.last = after

    def state(self) -> State:
        """Look at everything."""
        home = self.bench.home
        return State(
            outside=listing(VICTIM),
            rows=[tuple(row) for table in _TABLES for row in self.bench.database.read(f"SELECT * FROM {table}")],
            disk=set(_files(home)),
            mounts=[point.path for point in mounts_below(home)],
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
        )

    def unpack(self, blobs: list[Blob], limits: Limits | None = None) -> Image:
        """Do what a pull does once the blobs have come: apply each layer, then commit the snapshots."""
        image = self.image(blobs)
        scans = Scans(self.bench.content, limits)
        for layer in image.layers:
            applied = apply(self.bench.content, layer, scans=scans)
            self.dropped += [name for name, _ in applied.dropped]
        commit_snapshots(self.bench.snapshotter, image)
        return image

    def image(self, blobs: list[Blob]) -> Image:
        """Put the blobs of an image into the content store."""
        descriptors = [Descriptor(blob.media_type, self._put(blob.data), len(blob.data)) for blob in blobs]
        diff_ids = [Digest.of(blob.tar if blob.said is None else blob.said) for blob in blobs]
        names = zip(descriptors, diff_ids, chain_ids(diff_ids), strict=True)
        layers = tuple(Layer(index, len(blobs), *layer) for index, layer in enumerate(names))
        return Image(_DOCUMENT, _DOCUMENT, _DOCUMENT, Platform("linux", "amd64"), layers)

    def clear(self) -> None:
        """Take out whatever was put in."""
        for key in [info.key for info in self.bench.snapshotter.walk()][::-1]:
            self.bench.snapshotter.remove(key)
        for info in list(self.bench.content.walk()):
            self.bench.content.delete(info.digest)

    def _put(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        if not self.bench.content.has(digest):
            with self.bench.content.writer(layer_ref(digest)) as writer:
                writer.write(data)
                writer.commit(len(data), digest)
        return digest

    def _refuse(self, case: Case, outcome: Refused) -> None:
        blobs = case.blobs()
        known = {Digest.of(data) for blob in blobs for data in (blob.data, blob.tar)}
        with pytest.raises(outcome.error) as raised:
            self.unpack(blobs, case.limits)
        assert type(raised.value) is outcome.error
        assert outcome.word in str(raised.value)
        assert str(raised.value).isprintable()
        assert {info.digest for info in self.bench.content.walk()} <= known
        assert list(self.bench.content.statuses()) == []
        assert list(self.bench.snapshotter.walk()) == []

    def _show(self, case: Case, outcome: Accepted) -> None:
        blobs = case.blobs()
        image = self.unpack(blobs, case.limits)
        if self.bench.snapshotter.driver == "erofs":
            assert sound_image(self.bench.content, image)
        expected = self.bench.expected(*(blob.tar for blob in blobs))
        for key, make in (("view", self.bench.snapshotter.view), ("active", self.bench.snapshotter.prepare)):
            with self.bench.mounted(make(key, image.chain_id)) as root:
                shown = listing(root)
                assert differences(shown, expected) == []
                if outcome.shows is not None:
                    assert told(root, shown) == sorted(outcome.shows.split())
                assert outcome.also(root)
        assert sorted(set(self.dropped)) == sorted(outcome.dropped)


def _files(home: Path) -> Iterator[str]:
    """Yield the paths of all that a store has, but of locks that were taken once."""
    for folder, folders, files in os.walk(home):
        yield from (f"{folder}/{name}" for name in (*folders, *files))
        if ".locks" in folders:
            folders.remove(".locks")


def told(root: Path, shown: dict[bytes, Listed]) -> list[str]:
    """Return what an image shows, in words."""
    return sorted(_told(root, path, listed) for path, listed in shown.items() if path)


def _told(root: Path, path: bytes, listed: Listed) -> str:
    name = word(path)
    match listed.kind:
        case Kind.DIRECTORY:
            return f"{name}/"
        case Kind.SYMLINK:
            return f"{name}->{word(listed.link)}"
        case Kind.REGULAR:
            return f"{name}={content_word((root / os.fsdecode(path)).read_bytes())}"
        case Kind.FIFO:
            return f"{name}|"
        case _:
            device = "c" if listed.kind is Kind.CHAR else "b"
            return f"{name}:{device}{listed.device[0]},{listed.device[1]}"
