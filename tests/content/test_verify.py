"""The step *verify*."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from prestow.content.info import Status
from prestow.content.local import LocalStore
from prestow.content.refs import layer_ref
from prestow.content.verify import Verified, verify
from prestow.digest import Digest
from prestow.errors import MismatchError, PreconditionError, UnavailableError
from prestow.oci.descriptor import Descriptor
from tests.conformance.content import DATA, DIGEST, put

LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", DIGEST, len(DATA))


UNPACKED = b"the diff blob"


class Overtaken(LocalStore):
    """A store that another process changes just after the n-th look at it, if it gets the ingest's lock by then."""

    looks = -1

    def overtake(self, after: int, change: Callable[[], object]) -> None:
        """Let the other process act after so many looks."""
        self.looks, self._change = after, change

    def _looked(self) -> None:
        self.looks -= 1
        if self.looks == 0:
            with suppress(UnavailableError):
                self._change()

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Look for a blob."""
        found = super().has(digest, size)
        self._looked()
        return found

    def status(self, ref: str) -> Status | None:
        """Look at an ingest."""
        found = super().status(ref)
        self._looked()
        return found


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0)


def fetched(store: LocalStore, data: bytes = DATA, *, seal: bool = True) -> None:
    """Leave what the step before leaves."""
    with store.writer(layer_ref(DIGEST)) as writer:
        writer.write(data)
        if seal:
            writer.seal()


def test_a_fetched_layer_becomes_a_blob(store: LocalStore) -> None:
    fetched(store)

    assert verify(store, LAYER) == Verified(DIGEST, len(DATA))

    assert store.read(DIGEST) == DATA
    assert list(store.statuses()) == []


def test_a_layer_that_is_here_needs_no_work(store: LocalStore) -> None:
    put(store, DATA)
    fetched(store, b"something else")

    assert verify(store, LAYER) == Verified(DIGEST, len(DATA))

    assert len(list(store.statuses())) == 1


def test_a_layer_that_was_not_fetched_says_so(store: LocalStore) -> None:
    with pytest.raises(PreconditionError, match=f"{layer_ref(DIGEST)}.*fetch"):
        verify(store, LAYER)

    assert list(store.statuses()) == []


def test_a_layer_half_fetched_says_so_and_stays(store: LocalStore) -> None:
    fetched(store, DATA[:10], seal=False)

    with pytest.raises(PreconditionError, match="10 bytes are here; fetch the rest"):
        verify(store, LAYER)

    assert [status.offset for status in store.statuses()] == [10]


def test_of_a_layer_that_is_not_needed_no_part_is_kept(store: LocalStore) -> None:
    put(store, b"the diff blob")
    fetched(store, DATA[:10], seal=False)

    assert verify(store, LAYER, unless=Digest.of(b"the diff blob")) == Verified(DIGEST, len(DATA))

    assert not store.has(DIGEST)
    assert list(store.statuses()) == []


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b""])
def test_wrong_bytes_are_dropped_so_that_they_are_fetched_again(store: LocalStore, data: bytes) -> None:
    fetched(store, data)

    with pytest.raises(MismatchError, match="fetch it again"):
        verify(store, LAYER)

    assert list(store.statuses()) == []
    fetched(store)
    assert verify(store, LAYER).digest == DIGEST


def test_a_truncated_blob_is_replaced(store: LocalStore) -> None:
    put(store, DATA)
    store.path(DIGEST).unlink()
    store.path(DIGEST).write_bytes(DATA[:5])
    fetched(store)

    verify(store, LAYER)

    assert store.read(DIGEST) == DATA


def test_a_sha512_layer_is_verified_too(store: LocalStore) -> None:
    digest = Digest.of(DATA, "sha512")
    with store.writer(layer_ref(digest), algorithm="sha512") as writer:
        writer.write(DATA)
        writer.seal()

    assert verify(store, Descriptor(LAYER.media_type, digest, len(DATA))).digest == digest


@pytest.mark.parametrize("unless", [None, Digest.of(UNPACKED)])
@pytest.mark.parametrize("looks", range(1, 7))
def test_a_layer_that_another_process_commits_meanwhile_is_a_blob(
    store: LocalStore, tmp_path: Path, looks: int, unless: Digest | None
) -> None:
    fetched(store)
    slow = Overtaken(tmp_path / "content", tmp_path / "ingest", lock_timeout=0)
    slow.overtake(looks, lambda: verify(store, LAYER))

    assert verify(slow, LAYER, unless=unless) == Verified(DIGEST, len(DATA))

    assert store.read(DIGEST) == DATA
    assert list(store.statuses()) == []


@pytest.mark.parametrize("looks", range(1, 7))
def test_a_layer_that_another_process_unpacks_and_drops_meanwhile_is_not_needed(
    store: LocalStore, tmp_path: Path, looks: int
) -> None:
    fetched(store)
    slow = Overtaken(tmp_path / "content", tmp_path / "ingest", lock_timeout=0)

    def unpack() -> None:
        verify(store, LAYER)
        put(store, UNPACKED, "diff")
        store.delete(DIGEST)

    slow.overtake(looks, unpack)

    assert verify(slow, LAYER, unless=Digest.of(UNPACKED)) == Verified(DIGEST, len(DATA))

    assert list(store.statuses()) == []
