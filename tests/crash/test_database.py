"""A database of which the disk does not give a page is not damaged, and must not be made anew."""

import errno
from pathlib import Path

import pytest

from prestow.metadata.database import Database
from tests.crash.stage import Judge
from tests.crash.supervisor import GO_ON, Call, Voice, supervised


@pytest.mark.long
def test_a_page_that_cannot_be_read_is_no_damage(tmp_path: Path) -> None:
    Database(tmp_path / "metadata.db").close()

    def check(voice: Voice) -> None:
        voice.say(repr(Database(tmp_path / "metadata.db").check()))

    pages: list[int] = []

    def note(call: Call) -> int:
        pages.extend([call.number] if call.name == "pread64" else [])
        return GO_ON

    assert supervised(check, note, reading=True).told == ["[]"]
    errors = 0
    for page in pages:
        ended = supervised(check, lambda call, page=page: errno.EIO if call.number == page else GO_ON, reading=True)
        assert ended.told == [] if ended.error else ended.told == ["[]"]
        errors += ended.error.startswith("StorageError")
    assert errors > 5


@pytest.mark.long
def test_a_page_that_is_not_read_while_the_database_is_made_is_no_damage(tmp_path: Path) -> None:
    pages: list[int] = []

    def make(path: Path, judge: Judge) -> None:
        ended = supervised(lambda _: Database(path / "metadata.db"), judge, reading=True)
        assert (ended.foreign, list(path.glob("quarantine/*"))) == ("", [])
        assert Database(path / "metadata.db").check() == []

    def note(call: Call) -> int:
        pages.extend([call.number] if call.name == "pread64" else [])
        return GO_ON

    (tmp_path / "good").mkdir()
    make(tmp_path / "good", note)
    for page in pages:
        (tmp_path / str(page)).mkdir()
        make(tmp_path / str(page), lambda call, page=page: errno.EIO if call.number == page else GO_ON)
    assert len(pages) > 5
