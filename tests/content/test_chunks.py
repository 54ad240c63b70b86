"""An ingest that is filled by chunks: in any order, and interrupted anywhere, it is the bytes or a prefix of them."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.content.chunk_map import ChunkMap
from prestow.content.ingest import Ingest
from prestow.content.local import LocalStore
from prestow.content.writer import LocalWriter
from prestow.digest import Digest
from prestow.errors import MismatchError
from tests.wheels import ROOT

DATA = random.Random(5).randbytes(100_000)
REF = "layer-x"
KILLED = """
import os, random, signal, sys
from pathlib import Path
from prestow.content.local import LocalStore
data, chosen, home = random.Random(5).randbytes(100_000), random.Random(int(sys.argv[2])), Path(sys.argv[1])
content = LocalStore(home / "content", home / "ingest", durable=False)
with content.writer("layer-x", total=len(data)) as writer:
    chunks = writer.scatter(len(data), 7_000)
    for number in range(chosen.randrange(40)):
        left = list(chunks.missing())
        if left:
            chunk = chosen.choice(left)
            at, end = chunks.span(chunk)
            writer.write_chunk(chunk, data[at : chosen.randint(at + 1, end)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(folder: Path) -> LocalStore:
    return LocalStore(folder / "content", folder / "ingest", durable=False)


def fill(writer: LocalWriter, length: int) -> None:
    chunks = writer.scatter(len(DATA), length)
    for chunk in list(chunks.missing()):
        at, end = chunks.span(chunk)
        writer.write_chunk(chunk, DATA[at:end])


def commit(content: LocalStore) -> bytes:
    """Seal and commit what is complete, and return the blob's bytes."""
    content.commit_ingest(REF, len(DATA), Digest.of(DATA))
    return content.read(Digest.of(DATA), len(DATA))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 120_000),
    st.integers(0, len(DATA)),
    st.lists(st.tuples(st.sampled_from(["chunk", "hash", "reopen", "write"]), st.integers(0, 10**6)), max_size=25),
)
def test_chunks_in_any_order_with_other_work_between_are_the_bytes(
    length: int, start: int, steps: list[tuple[str, int]]
) -> None:
    with TemporaryDirectory() as folder:
        content = opened(Path(folder))
        writer = content.writer(REF, total=len(DATA))
        writer.write(DATA[:start])
        for what, number in steps:
            if what == "reopen":
                writer.close()
                writer = content.writer(REF, total=len(DATA))
            elif what == "hash":
                assert writer.catch_up(number) <= writer.offset
            elif what == "write":
                writer.write(DATA[writer.offset : writer.offset + number % 9_000])
            else:
                chunks = writer.scatter(len(DATA), length)
                if left := list(chunks.missing()):
                    at, end = chunks.span(left[number % len(left)])
                    writer.write_chunk(left[number % len(left)], DATA[at : at + 1 + number % (end - at)])
            status = content.status(REF)
            assert status is not None
            assert writer.offset <= status.offset <= len(DATA)
            with content.tail(REF) as file:
                assert file.read(writer.offset) == DATA[: writer.offset]
        fill(writer, length)
        assert writer.catch_up(len(DATA)) == len(DATA)
        assert writer.seal() == Digest.of(DATA)
        writer.close()

        assert commit(content) == DATA


@pytest.mark.parametrize("seed", range(6))
def test_what_a_killed_process_had_written_counts(tmp_path: Path, seed: int) -> None:
    for _ in range(3):
        killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(seed)], cwd=ROOT, check=False)
        assert killed.returncode == -signal.SIGKILL
    content = opened(tmp_path)
    before = content.status(REF)

    with content.writer(REF, total=len(DATA)) as writer:
        chunks = writer.scatter(len(DATA), 7_000)
        missing = sum(end - at for at, end in map(chunks.span, chunks.missing()))
        assert before is not None
        assert before.offset == len(DATA) - missing
        fill(writer, 7_000)
        writer.seal()

    assert commit(content) == DATA


def test_an_ingest_with_gaps_is_no_whole_one(tmp_path: Path) -> None:
    content = opened(tmp_path)
    with content.writer(REF, total=len(DATA)) as writer:
        chunks = writer.scatter(len(DATA), 40_000)
        for chunk in (0, 2):
            writer.write_chunk(chunk, DATA[slice(*chunks.span(chunk))])
        assert writer.offset == 40_000
        assert content.status(REF).offset == 60_000  # type: ignore[union-attr]
        with pytest.raises(MismatchError, match="found 40000"):
            writer.commit(len(DATA), Digest.of(DATA))


def test_who_writes_on_behind_a_gap_drops_what_lies_there(tmp_path: Path) -> None:
    content = opened(tmp_path)
    with content.writer(REF, total=len(DATA)) as writer:
        chunks = writer.scatter(len(DATA), 40_000)
        for chunk in (0, 2):
            writer.write_chunk(chunk, DATA[slice(*chunks.span(chunk))])
    with content.writer(REF, total=len(DATA)) as writer:
        writer.write(DATA[40_000:70_000])
        assert Ingest.of(content.ingests, REF).data.read_bytes() == DATA[:70_000]
        writer.write(DATA[70_000:])
        writer.seal()

    assert commit(content) == DATA


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0" * 8,
        lambda raw: b"x" + raw[1:],
        lambda raw: raw[:-8] + (1 << 40).to_bytes(8, "little"),
        lambda raw: raw[:8] + bytes(24) + raw[32:],
        lambda raw: os.urandom(len(raw)),
    ],
)
def test_a_map_that_makes_no_sense_means_that_nothing_is_there(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    content = opened(tmp_path)
    with content.writer(REF, total=len(DATA)) as writer:
        writer.write_chunk(0, DATA[slice(*writer.scatter(len(DATA), 40_000).span(0))])
    file = Ingest.of(content.ingests, REF).chunks
    file.write_bytes(spoil(file.read_bytes()))

    with content.writer(REF, total=len(DATA)) as writer:
        assert writer.offset == 0
        fill(writer, 30_000)
        writer.seal()

    assert commit(content) == DATA


def test_a_map_of_more_than_the_file_has_means_that_nothing_is_there(tmp_path: Path) -> None:
    content = opened(tmp_path)
    with content.writer(REF, total=len(DATA)) as writer:
        fill(writer, 40_000)
    ingest = Ingest.of(content.ingests, REF)
    os.truncate(ingest.data, 99_999)  # as a power cut may do

    found = ChunkMap.read(ingest.chunks, 99_999)

    assert found is not None
    assert (found.prefix, found.present) == (0, 0)
