"""Tag, untag and garbage collection, killed before any system call or statement, and with any of them failing."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.gc.collect import sweep
from prestow.gc.survey import survey
from prestow.metadata.database import Database
from prestow.metadata.images import Images
from prestow.metadata.layout_index import read_index, write_index
from prestow.metadata.publish import catch_up, publish_names
from prestow.metadata.tag import recover_names, tag, untag
from tests.conformance.crash import EVERY, failing_at_each_call, killed_at_each_call
from tests.metadata.factory import Home, Made, make_image

NAME = "localhost/a:1"


@contextmanager
def opened(path: Path) -> Iterator[Home]:
    """Open a store for a moment: nothing of it may be open while a process is forked."""
    home = Home.open(path)
    try:
        yield home
    finally:
        home.db.close()


def prepared(path: Path, *layers: bytes) -> Made:
    with opened(path) as home:
        return make_image(home, *layers)


def names(home: Home) -> tuple[list[str], list[str]]:
    """Return the names in the database and in ``index.json``."""
    return [image.name for image in Images(home.db).list()], [image.name for image in read_index(home.content.root)]


def told(home: Home) -> set[str]:
    """Return the names that there would be if the database was lost now."""
    (home.path / "lost").mkdir()
    with closing(Database(home.path / "lost" / "metadata.db", on_create=recover_names(home.content))) as db:
        found = {image.name for image in Images(db).list()}
    shutil.rmtree(home.path / "lost")
    return found


def kept(home: Home) -> set[str]:
    """Return the blobs that stay."""
    found = survey(home.db, home.content, ()).holds.reachable()
    return {thing.name for thing in found if thing.kind == "blob"}


def run_tag(path: Path, image: Made) -> None:
    with opened(path) as home:
        tag(home.db, home.content, NAME, image.target)


def run_untag(path: Path) -> None:
    with opened(path) as home:
        if Images(home.db).list():
            untag(home.db, home.content, NAME)


def run_sweep(path: Path) -> None:
    with opened(path) as home:
        sweep(home.db, home.content)


def test_a_killed_tag_is_done_or_not_and_done_again(tmp_path: Path) -> None:
    image = prepared(tmp_path, b"1")
    behind = 0
    for _ in killed_at_each_call(lambda: run_tag(tmp_path, image)):
        with opened(tmp_path) as home:
            in_database, in_index = names(home)
            assert set(in_database) <= told(home), "the database never names what would be lost with it"
            behind += in_database != in_index

            tag(home.db, home.content, NAME, image.target)
            assert names(home) == ([NAME], [NAME])
            untag(home.db, home.content, NAME)

    assert behind > 0, "some kill must have come between the two"


def test_what_killed_writers_of_the_index_left_goes_with_the_next_collection(tmp_path: Path) -> None:
    image = prepared(tmp_path, b"1")
    left: set[str] = set()
    for _ in killed_at_each_call(lambda: run_tag(tmp_path, image)):
        left |= {path.name for path in (tmp_path / "content").iterdir() if path.name.startswith(".")}
        run_untag(tmp_path)

    run_tag(tmp_path, image)
    run_sweep(tmp_path)

    assert left
    assert {path.name for path in (tmp_path / "content").iterdir()} == {"oci-layout", "index.json", "blobs"}


@pytest.mark.parametrize("every", EVERY)
def test_a_killed_untag_is_done_or_not_and_done_again(tmp_path: Path, every: int) -> None:
    image = prepared(tmp_path, b"1")
    run_tag(tmp_path, image)
    for _ in killed_at_each_call(lambda: run_untag(tmp_path), every):
        run_untag(tmp_path)
        with opened(tmp_path) as home:
            catch_up(home.db, home.content)
            assert names(home) == ([], [])
        run_tag(tmp_path, image)


def replace_index(path: Path) -> None:
    """Replace ``index.json`` as another tool does, or as a copy of the store is: the same names in another file."""
    index = path / "content/index.json"
    shutil.copy(index, path / "other")
    (path / "other").replace(index)


@pytest.mark.parametrize("every", EVERY)
def test_recovery_publishes_a_killed_untag_although_index_json_was_replaced(tmp_path: Path, every: int) -> None:
    image = prepared(tmp_path, b"1")
    run_tag(tmp_path, image)
    replace_index(tmp_path)
    behind = 0
    for _ in killed_at_each_call(lambda: run_untag(tmp_path), every):
        with opened(tmp_path) as home:
            in_database, in_index = names(home)
            behind += in_database != in_index
            catch_up(home.db, home.content)
            assert names(home) == (in_database, in_database)
        run_tag(tmp_path, image)
        replace_index(tmp_path)

    assert behind > 0, "some kill must have come between the two"


def test_recovery_leaves_what_another_tool_wrote_if_no_change_waits(tmp_path: Path) -> None:
    run_tag(tmp_path, prepared(tmp_path, b"1"))
    with opened(tmp_path) as home:
        write_index(home.content.root, [])
        catch_up(home.db, home.content)
        assert names(home) == ([NAME], [])


@pytest.mark.parametrize("every", EVERY)
def test_a_killed_collection_loses_nothing_named_and_is_finished_by_the_next(tmp_path: Path, every: int) -> None:
    stays = prepared(tmp_path, b"base", b"1")
    run_tag(tmp_path, stays)
    prepared(tmp_path, b"base", b"2")
    for _ in killed_at_each_call(lambda: run_sweep(tmp_path), every):
        with opened(tmp_path) as home:
            assert stays.blobs <= home.digests()
            sweep(home.db, home.content)
            assert home.digests() == stays.blobs
            assert list(home.content.trash.iterdir()) == []
            assert {path.name for path in home.content.root.iterdir()} == {"oci-layout", "index.json", "blobs"}
        prepared(tmp_path, b"base", b"2")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_any_call_failing_leaves_the_names_whole(tmp_path: Path, code: int) -> None:
    image = prepared(tmp_path, b"1")
    mattered = 0
    with opened(tmp_path) as home:

        def work() -> None:
            tag(home.db, home.content, NAME, image.target)

        for error in failing_at_each_call(work, OSError(code, os.strerror(code))):
            mattered += error is not None
            assert set(names(home)[0]) <= told(home)
            work()
            assert names(home) == ([NAME], [NAME])
            untag(home.db, home.content, NAME)

    assert mattered > 3


def test_on_a_full_disk_names_are_forgotten_and_the_bytes_given_back(tmp_path: Path) -> None:
    image = prepared(tmp_path, b"1")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with opened(tmp_path) as home:

        def forget() -> None:
            if Images(home.db).list():
                untag(home.db, home.content, NAME)
            sweep(home.db, home.content)

        tag(home.db, home.content, NAME, image.target)
        failures = [error for error in failing_at_each_call(forget, full) if _put_back(home, image) and error]

        assert not [error for error in failures if "index.json" in str(error)]


def _put_back(home: Home, image: Made) -> bool:
    """Look at what is left of the image, whole or gone, and make it anew."""
    if Images(home.db).list():
        assert image.blobs <= home.digests()
    again = make_image(home, b"1")
    assert again == image
    tag(home.db, home.content, NAME, image.target)
    publish_names(home.db, home.content)
    assert kept(home) == image.blobs
    return True


def test_the_same_is_held_before_and_after_a_collection(tmp_path: Path) -> None:
    image = prepared(tmp_path, b"1", b"2")
    run_tag(tmp_path, image)
    with opened(tmp_path) as home:
        before = kept(home)
        home.put(b"garbage")

        sweep(home.db, home.content)

        assert kept(home) == before
        assert Digest.of(b"garbage") not in home.digests()
