"""Laws of ingests: however bytes come in, the same blob comes out, or none."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.content.local import LocalStore
from prestow.digest import Digest, Digester
from prestow.errors import MismatchError

ALGORITHMS = st.sampled_from(["sha256", "sha512"])
CHUNKS = st.lists(st.binary(max_size=50), max_size=8)


@contextmanager
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def reopen(folder: Path) -> LocalStore:
    return LocalStore(folder / "content", folder / "ingest", durable=False, lock_timeout=0)


@settings(deadline=None, max_examples=200)
@given(CHUNKS, ALGORITHMS)
def test_the_digest_of_the_chunks_is_that_of_the_whole(chunks: list[bytes], algorithm: str) -> None:
    digester = Digester(algorithm)
    for chunk in chunks:
        digester.write(chunk)

    assert digester.digest() == Digest.of(b"".join(chunks), algorithm)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=50), st.sampled_from(["go on", "close", "seal"])), max_size=8), ALGORITHMS)
def test_written_in_any_pieces_and_resumed_anywhere_it_is_the_same_blob(
    pieces: list[tuple[bytes, str]], algorithm: str
) -> None:
    whole = b"".join(piece for piece, _ in pieces)
    digest = Digest.of(whole, algorithm)
    with home() as folder:
        writer = reopen(folder).writer("r", algorithm=algorithm)
        for piece, then in pieces:
            writer.write(piece)
            if then != "go on":
                if then == "seal":
                    writer.seal()
                offset = writer.offset
                writer.close()
                writer = reopen(folder).writer("r", algorithm=algorithm)
                assert (writer.offset, writer.sealed) == (offset, then == "seal")
        writer.commit(len(whole), digest)

        store = reopen(folder)
        assert store.read(digest) == whole
        assert [info.digest for info in store.walk()] == [digest]
        assert list(store.statuses()) == []


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=50), st.binary(max_size=50), st.integers(0, 60) | st.none(), st.sampled_from(["writer", "seal"])
)
def test_a_blob_appears_only_with_its_size_and_digest(data: bytes, promised: bytes, size: int | None, by: str) -> None:
    digest = Digest.of(promised)
    right = data == promised and size in (None, len(data))
    with home() as folder:
        store = reopen(folder)
        with store.writer("r") as writer:
            writer.write(data)
            writer.seal()
            if by == "seal":
                writer.close()
            try:
                if by == "seal":
                    store.commit_ingest("r", size, digest)
                else:
                    writer.commit(size, digest)
            except MismatchError:
                assert not right
            else:
                assert right

        assert [info.digest for info in store.walk()] == ([digest] if right else [])
        assert store.status("r") is None
        assert list(store.trash.iterdir()) == []


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=1, max_size=80), st.data())
def test_a_lost_or_changed_byte_of_a_partial_ingest_never_gets_into_a_blob(whole: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(whole)))
    at = data.draw(st.integers(0, cut - 1))
    with home() as folder:
        store = reopen(folder)
        with store.writer("r") as writer:
            writer.write(whole[:cut])
        [partial] = (folder / "ingest").glob("*/data")
        partial.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 : cut])

        writer = store.writer("r")
        writer.write(whole[cut:])
        with pytest.raises(MismatchError):
            writer.commit(len(whole), Digest.of(whole))

        assert list(store.walk()) == []


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_the_store_is_the_set_of_what_was_put_and_not_deleted(blobs: list[bytes], data: st.DataObject) -> None:
    expected: dict[Digest, bytes] = {}
    with home() as folder:
        store = reopen(folder)
        for n, blob in enumerate(blobs):
            digest = Digest.of(blob)
            with store.writer(f"r{n}") as writer:
                writer.write(blob)
                writer.commit(None, digest)
            expected[digest] = blob
            if data.draw(st.booleans()):
                store.delete(digest)
                del expected[digest]

        assert {info.digest: store.read(info.digest) for info in reopen(folder).walk()} == expected
