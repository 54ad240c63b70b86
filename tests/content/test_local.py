"""The store in folders: the suite for any store, and what only a disk can do to it."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.content.info import Status
from prestow.content.ingest import Ingest
from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import MismatchError, NotFoundError, StorageError
from tests.conformance import content
from tests.conformance.content import DATA, DIGEST, put


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0)


def sealed(store: LocalStore, ref: str = "r", data: bytes = DATA) -> Path:
    """Leave a sealed ingest, and give its data file."""
    with store.writer(ref) as writer:
        writer.write(data)
        writer.seal()
    return Ingest.of(store.ingests, ref).data


@pytest.mark.parametrize("law", content.SUITE, ids=content.name)
def test_local_store_keeps(law: Callable[[content.OpenStore], None], tmp_path: Path) -> None:
    law(lambda: LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0))


def test_a_new_store_is_an_empty_oci_layout(store: LocalStore) -> None:
    assert json.loads((store.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.root / "index.json").read_text()) == {"schemaVersion": 2, "manifests": []}
    assert (store.root / "blobs" / "sha256").is_dir()


def test_opening_again_changes_nothing(store: LocalStore) -> None:
    (store.root / "index.json").write_text('{"schemaVersion": 2, "manifests": [], "annotations": {}}')
    before = {path: path.stat().st_mtime_ns for path in store.root.parent.rglob("*")}

    LocalStore(store.root, store.ingests)

    assert {path: path.stat().st_mtime_ns for path in store.root.parent.rglob("*")} == before


def test_a_store_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="opening the content store"):
        LocalStore(tmp_path / "file" / "content", tmp_path / "ingest")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = LocalStore(tmp_path / "content", tmp_path / "ingest")
        put(store, DATA)
        data = sealed(store)
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert modes[store.path(DIGEST)] == 0o444
    assert modes[data] == 0o600
    assert modes[store.root / "index.json"] == 0o644


@pytest.mark.parametrize("size", [0, 1, len(DATA) - 1, len(DATA) + 1])
def test_a_blob_of_the_wrong_size_is_fetched_again(store: LocalStore, size: int) -> None:
    put(store, DATA)
    store.path(DIGEST).chmod(0o600)
    os.truncate(store.path(DIGEST), size)
    assert not store.has(DIGEST, len(DATA))

    with store.writer("again", digest=DIGEST, total=len(DATA)) as writer:
        writer.write(DATA)
        writer.commit(len(DATA), DIGEST)

    assert store.read(DIGEST) == DATA


def test_an_emptied_blob_is_absent_even_if_nobody_knows_its_size(store: LocalStore) -> None:
    put(store, DATA)
    store.path(DIGEST).chmod(0o600)
    os.truncate(store.path(DIGEST), 0)

    assert not store.has(DIGEST)
    assert list(store.walk()) == []
    with pytest.raises(NotFoundError):
        store.open(DIGEST)


def test_a_flipped_bit_is_found_on_reading_a_document(store: LocalStore) -> None:
    put(store, DATA)
    store.path(DIGEST).chmod(0o600)
    with store.path(DIGEST).open("r+b") as file:
        file.write(b"\xff")

    for look in (store.read, store.check):
        with pytest.raises(MismatchError, match="damaged"):
            look(DIGEST)

    store.delete(DIGEST)
    assert put(store, DATA) == DIGEST
    assert store.check(DIGEST) == store.info(DIGEST)


def _symlink(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def _folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"x")


def _fifo(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_symlink, _folder, _fifo])
def test_what_is_not_a_regular_file_is_no_blob_and_gives_way_to_one(
    store: LocalStore, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    make(store.path(DIGEST), secret)

    assert not store.has(DIGEST)
    assert list(store.walk()) == []
    for look in (store.open, store.open_fd, store.read, store.info):
        with pytest.raises(NotFoundError):
            look(DIGEST)

    put(store, DATA)
    assert store.read(DIGEST) == DATA
    assert not store.path(DIGEST).is_symlink()
    assert secret.read_bytes() == DATA


def test_strange_names_among_the_blobs_are_passed_over(store: LocalStore) -> None:
    put(store, DATA)
    for name in ("x", "sha256:0", DIGEST.encoded.upper(), DIGEST.encoded + "0"):
        (store.root / "blobs" / "sha256" / name).write_bytes(b"x")

    assert [info.digest for info in store.walk()] == [DIGEST]


def test_an_untouched_seal_is_believed_without_reading_the_bytes(store: LocalStore) -> None:
    data = sealed(store)
    before = data.stat()
    with data.open("r+b") as file:
        file.write(b"\xff")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))

    store.commit_ingest("r", len(DATA), DIGEST)

    with pytest.raises(MismatchError):
        store.read(DIGEST)


def test_a_touched_file_is_hashed_again(store: LocalStore) -> None:
    with sealed(store).open("r+b") as file:
        file.write(b"\xff")

    with pytest.raises(MismatchError, match=str(DIGEST)):
        store.commit_ingest("r", len(DATA), DIGEST)

    assert store.status("r") is None


def _other_boot(seal: dict[str, object]) -> None:
    seal["boot_id"] = "another"


def _other_inode(seal: dict[str, object]) -> None:
    seal["inode"] = 1


def _other_digest(seal: dict[str, object]) -> None:
    seal["digest"] = Digest.of(b"")
    seal["boot_id"] = "another"


@pytest.mark.parametrize("change", [_other_boot, _other_inode, _other_digest])
def test_after_a_reboot_the_bytes_are_hashed_again_and_committed(
    store: LocalStore, change: Callable[[dict[str, object]], None]
) -> None:
    progress = sealed(store).with_name("progress")
    seal = json.loads(progress.read_text())
    change(seal)
    progress.write_text(json.dumps(seal))

    store.commit_ingest("r", len(DATA), DIGEST)

    assert store.read(DIGEST) == DATA


@pytest.mark.parametrize(
    "rubbish", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"digest": "x", "size": 1}', b'{"digest": 1}']
)
def test_a_half_written_seal_is_none(store: LocalStore, rubbish: bytes) -> None:
    sealed(store).with_name("progress").write_bytes(rubbish)

    status = store.status("r")
    assert status is not None
    assert (status.offset, status.sealed) == (len(DATA), False)
    with store.writer("r") as writer:
        assert (writer.offset, writer.sealed) == (len(DATA), False)
        writer.seal()
    store.commit_ingest("r", len(DATA), DIGEST)


def test_a_data_file_that_lost_bytes_is_not_sealed(store: LocalStore) -> None:
    os.truncate(sealed(store), 100)

    with store.writer("r") as writer:
        assert (writer.offset, writer.sealed) == (100, False)
        writer.write(DATA[100:])
        writer.commit(len(DATA), DIGEST)

    assert store.read(DIGEST) == DATA


def test_a_data_file_that_is_a_link_is_refused(store: LocalStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    data = sealed(store)
    data.unlink()
    data.symlink_to(victim)

    with pytest.raises(StorageError):
        store.writer("r")

    store.abort("r")
    assert victim.read_bytes() == b"precious"


def test_statuses_lists_all_ingests(store: LocalStore) -> None:
    sealed(store, "one")
    sealed(store, "two", b"2")

    assert {(s.ref, s.offset, s.sealed) for s in store.statuses()} == {("one", len(DATA), True), ("two", 1, True)}


def test_sweeping_asks_about_each_ingest_that_nobody_writes(store: LocalStore) -> None:
    sealed(store, "young")
    sealed(store, "old")
    nameless = store.ingests / ("0" * 64)
    nameless.mkdir()
    asked: list[Status] = []

    def keep(status: Status) -> bool:
        asked.append(status)
        return status.ref == "young"

    with store.writer("busy") as writer:
        writer.write(b"x")
        planned = store.sweep_ingests(keep, dry_run=True)
        gone = store.sweep_ingests(keep)

    assert {status.ref for status in asked} == {"young", "old", ""}
    assert {status.ref for status in planned} == {status.ref for status in gone} == {"old", ""}
    assert {status.ref for status in store.statuses()} == {"young", "busy"}
    assert not nameless.exists()


def test_the_trash_is_emptied_of_our_things_only(store: LocalStore) -> None:
    put(store, DATA)
    grave = store.discard(DIGEST)
    other = store.trash / "snapshot-1"
    other.mkdir()
    left = store.trash / "ingest-0"
    left.mkdir()
    (left / "data").write_bytes(b"x")
    assert grave.read_bytes() == DATA

    store.empty_trash()

    assert list(store.trash.iterdir()) == [other]


def test_one_thing_in_the_trash_that_cannot_be_removed_does_not_keep_the_others(store: LocalStore) -> None:
    put(store, DATA)
    store.discard(DIGEST)
    odd = store.trash / "ingest-0"
    (odd / "deeper").mkdir(parents=True)

    with pytest.raises(StorageError, match="emptying"):
        store.empty_trash()

    assert list(store.trash.iterdir()) == [odd]


def test_a_missing_trash_is_made_again(store: LocalStore) -> None:
    put(store, DATA)
    store.trash.rmdir()

    store.delete(DIGEST)

    assert not store.has(DIGEST)


def test_a_store_that_does_not_wait_for_the_disk_keeps_the_same_bytes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)

    put(store, DATA)

    assert store.read(DIGEST) == DATA
