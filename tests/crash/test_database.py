"""A database of which the disk does not give a page is not damaged, and must not be made anew."""

import errno
from pathlib import Path

from prestow.metadata.database import Database
from tests.crash.supervisor import GO_ON, Call, Voice, supervised


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
