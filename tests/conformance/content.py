"""What every content store must do: ``SUITE``, functions of one argument, for ``pytest.mark.parametrize``.

    @pytest.mark.parametrize("law", content.SUITE, ids=content.name)
    def test_local_store_keeps(law, tmp_path):
        law(lambda: LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0))

The argument opens the one store under test once more, as another process would; a writer must not wait for long.
"""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from prestow.content.store import Store
from prestow.digest import Digest
from prestow.errors import (
    AlreadyExistsError,
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)

OpenStore: TypeAlias = Callable[[], Store]

DATA = bytes(range(256)) * 5000
DIGEST = Digest.of(DATA)
EMPTY = Digest.of(b"")


def put(store: Store, data: bytes, ref: str = "put") -> Digest:
    """Commit bytes."""
    with store.writer(ref) as writer:
        writer.write(data)
        writer.commit(len(data), Digest.of(data))
    return Digest.of(data)


def name(law: Callable[[OpenStore], None]) -> str:
    """Return a law's sentence."""
    return law.__name__


def committed_bytes_come_back(open_store: OpenStore) -> None:
    store = open_store()

    put(store, DATA)

    with open_store().open(DIGEST) as file:
        assert file.read() == DATA
        assert file.seek(-3, 2) == len(DATA) - 3
        assert file.read() == DATA[-3:]
    assert store.read(DIGEST) == DATA
    assert store.info(DIGEST).size == len(DATA)
    assert store.info(DIGEST).created_at > 0


def the_empty_blob_is_a_blob(open_store: OpenStore) -> None:
    store = open_store()
    assert not store.has(EMPTY)

    put(store, b"")

    assert store.has(EMPTY, 0)
    assert store.read(EMPTY) == b""


def nothing_is_visible_before_commit(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(DATA)
        writer.seal()

        assert not store.has(DIGEST)
        assert list(store.walk()) == []
        with pytest.raises(NotFoundError):
            store.open(DIGEST)


def a_missing_blob_is_not_found(open_store: OpenStore) -> None:
    store = open_store()
    for look in (store.open, store.read, store.info, store.delete):
        with pytest.raises(NotFoundError):
            look(DIGEST)


def the_wrong_size_is_absent(open_store: OpenStore) -> None:
    store = open_store()
    put(store, DATA)

    assert store.has(DIGEST)
    assert store.has(DIGEST, len(DATA))
    assert not store.has(DIGEST, len(DATA) - 1)
    assert not store.has(DIGEST, 0)


def documents_have_a_limit(open_store: OpenStore) -> None:
    store = open_store()
    put(store, DATA)

    assert store.read(DIGEST, len(DATA)) == DATA
    with pytest.raises(ExhaustedError, match=str(len(DATA) - 1)):
        store.read(DIGEST, len(DATA) - 1)


def committing_twice_is_success(open_store: OpenStore) -> None:
    store = open_store()

    put(store, DATA, "one")
    put(store, DATA, "two")

    assert [info.digest for info in store.walk()] == [DIGEST]
    assert store.status("one") is None
    assert store.status("two") is None


def a_closed_ingest_is_resumed(open_store: OpenStore) -> None:
    with open_store().writer("r", total=len(DATA)) as writer:
        assert writer.offset == 0
        writer.write(DATA[:1000])

    with open_store().writer("r") as writer:
        assert writer.offset == 1000
        assert not writer.sealed
        writer.write(memoryview(DATA)[1000:])
        writer.commit(len(DATA), DIGEST)

    assert open_store().read(DIGEST) == DATA


def status_tells_how_far_an_ingest_is(open_store: OpenStore) -> None:
    store = open_store()
    assert store.status("r") is None

    with store.writer("r", total=len(DATA)) as writer:
        writer.write(DATA[:1000])
        status = open_store().status("r")
        assert status is not None
        assert (status.ref, status.offset, status.total, status.sealed) == ("r", 1000, len(DATA), False)
        writer.write(DATA[1000:])
        writer.seal()

    status = store.status("r")
    assert status is not None
    assert (status.offset, status.sealed) == (len(DATA), True)


def wrong_bytes_are_dropped(open_store: OpenStore) -> None:
    store = open_store()
    writer = store.writer("r")
    writer.write(DATA[:-1] + b"x")

    with pytest.raises(MismatchError, match=str(DIGEST)):
        writer.commit(len(DATA), DIGEST)

    assert list(store.walk()) == []
    assert store.status("r") is None
    assert put(store, DATA, "r") == DIGEST


def a_wrong_size_is_dropped(open_store: OpenStore) -> None:
    store = open_store()
    writer = store.writer("r")
    writer.write(DATA)

    with pytest.raises(MismatchError, match=f"expected 5 bytes, found {len(DATA)}"):
        writer.commit(5, DIGEST)

    assert not store.has(DIGEST)
    assert store.status("r") is None


def an_unknown_size_is_no_matter(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(DATA)
        writer.commit(None, DIGEST)

    assert store.has(DIGEST, len(DATA))


def any_supported_algorithm_commits(open_store: OpenStore) -> None:
    store = open_store()
    digest = Digest.of(DATA, "sha512")

    for ref, algorithm in (("a", "sha512"), ("b", "sha256")):
        with store.writer(ref, algorithm=algorithm) as writer:
            writer.write(DATA)
            writer.commit(len(DATA), digest)

        assert store.read(digest) == DATA
        assert [info.digest for info in store.walk()] == [digest]
        store.delete(digest)


def truncate_starts_again(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(b"wrong")
        writer.seal()

        writer.truncate()

        assert (writer.offset, writer.sealed) == (0, False)
        writer.write(DATA)
        writer.commit(len(DATA), DIGEST)
    assert store.read(DIGEST) == DATA


def abort_forgets_the_bytes(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(DATA)
        writer.abort()
    assert store.status("r") is None

    with store.writer("r") as writer:
        writer.write(DATA)
    store.abort("r")
    store.abort("r")

    assert store.status("r") is None
    with store.writer("r") as writer:
        assert writer.offset == 0


def an_ingest_has_one_writer(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(DATA[:10])

        for attempt in (lambda: open_store().writer("r"), lambda: open_store().abort("r")):
            with pytest.raises(UnavailableError):
                attempt()
        with open_store().writer("other"):
            pass

    with open_store().writer("r") as writer:
        assert writer.offset == 10


def a_closed_writer_does_nothing(open_store: OpenStore) -> None:
    writer = open_store().writer("r")
    writer.write(b"x")
    writer.close()
    writer.close()
    writer.abort()

    uses: tuple[Callable[[], None], ...] = (
        lambda: writer.write(b"y"),
        writer.seal,
        writer.truncate,
        lambda: writer.commit(None, DIGEST),
    )
    for use in uses:
        with pytest.raises(PreconditionError):
            use()
    status = open_store().status("r")
    assert status is not None
    assert status.offset == 1


def a_sealed_ingest_is_committed_by_another(open_store: OpenStore) -> None:
    with open_store().writer("r") as writer:
        writer.write(DATA)
        writer.seal()

    store = open_store()
    store.commit_ingest("r", len(DATA), DIGEST)
    store.commit_ingest("r", len(DATA), DIGEST)

    assert store.read(DIGEST) == DATA
    assert store.status("r") is None


def a_sealed_ingest_shows_that_nothing_is_left_to_write(open_store: OpenStore) -> None:
    with open_store().writer("r") as writer:
        writer.write(DATA)
        writer.seal()

    with open_store().writer("r") as writer:
        assert (writer.offset, writer.sealed) == (len(DATA), True)
        writer.write(b"more")
        assert not writer.sealed

    with pytest.raises(PreconditionError, match="incomplete"):
        open_store().commit_ingest("r", None, DIGEST)


def an_unsealed_ingest_is_not_committed(open_store: OpenStore) -> None:
    store = open_store()
    with store.writer("r") as writer:
        writer.write(DATA)

    with pytest.raises(PreconditionError, match="incomplete"):
        store.commit_ingest("r", len(DATA), DIGEST)
    with pytest.raises(PreconditionError, match="nothing was fetched"):
        store.commit_ingest("never", len(DATA), DIGEST)

    assert store.status("r") is not None
    assert store.status("never") is None


def a_sealed_ingest_of_wrong_bytes_is_dropped(open_store: OpenStore) -> None:
    store = open_store()
    for size, digest in ((len(DATA), EMPTY), (3, DIGEST)):
        with store.writer("r") as writer:
            writer.write(DATA)
            writer.seal()

        with pytest.raises(MismatchError):
            store.commit_ingest("r", size, digest)

        assert store.status("r") is None
        assert list(store.walk()) == []


def a_sealed_ingest_of_a_blob_that_is_here_is_dropped(open_store: OpenStore) -> None:
    store = open_store()
    put(store, DATA)
    with store.writer("r") as writer:
        writer.write(b"whatever")
        writer.seal()

    store.commit_ingest("r", len(DATA), DIGEST)
    assert store.status("r") is None
    assert store.read(DIGEST) == DATA


def a_writer_for_a_blob_that_is_here_already_exists(open_store: OpenStore) -> None:
    store = open_store()
    put(store, DATA)

    with pytest.raises(AlreadyExistsError):
        store.writer("r", digest=DIGEST, total=len(DATA))

    assert store.status("r") is None
    with store.writer("r"):
        pass


def a_deleted_blob_is_gone(open_store: OpenStore) -> None:
    store = open_store()
    put(store, DATA)
    file = store.open(DIGEST)

    store.delete(DIGEST)

    assert not store.has(DIGEST)
    assert list(store.walk()) == []
    with file:
        assert file.read() == DATA, "who had it open reads on"
    with pytest.raises(NotFoundError):
        store.delete(DIGEST)


def strange_refs_are_refused(open_store: OpenStore) -> None:
    store = open_store()
    for ref in ("", "a\nb", "\x00", "r" * 1025):
        with pytest.raises(InvalidError):
            store.writer(ref)
    for ref in ("../../etc/passwd", "/", ".locks", "é" * 1024):
        with store.writer(ref) as writer:
            writer.write(b"x")
        status = store.status(ref)
        assert status is not None
        assert (status.ref, status.offset) == (ref, 1)


SUITE: tuple[Callable[[OpenStore], None], ...] = (
    committed_bytes_come_back,
    the_empty_blob_is_a_blob,
    nothing_is_visible_before_commit,
    a_missing_blob_is_not_found,
    the_wrong_size_is_absent,
    documents_have_a_limit,
    committing_twice_is_success,
    a_closed_ingest_is_resumed,
    status_tells_how_far_an_ingest_is,
    wrong_bytes_are_dropped,
    a_wrong_size_is_dropped,
    an_unknown_size_is_no_matter,
    any_supported_algorithm_commits,
    truncate_starts_again,
    abort_forgets_the_bytes,
    an_ingest_has_one_writer,
    a_closed_writer_does_nothing,
    a_sealed_ingest_is_committed_by_another,
    a_sealed_ingest_shows_that_nothing_is_left_to_write,
    an_unsealed_ingest_is_not_committed,
    a_sealed_ingest_of_wrong_bytes_is_dropped,
    a_sealed_ingest_of_a_blob_that_is_here_is_dropped,
    a_writer_for_a_blob_that_is_here_already_exists,
    a_deleted_blob_is_gone,
    strange_refs_are_refused,
)
