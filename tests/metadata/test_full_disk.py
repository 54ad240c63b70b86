"""A disk that is really full, and one that is really read-only: a tmpfs in a mount namespace of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PRELUDE = """
import os, subprocess, sys
from pathlib import Path
from prestow.errors import ExhaustedError, PrestowError, StorageError
from prestow.metadata.database import Database
from prestow.gc.collect import sweep
from prestow.metadata.images import Images
from prestow.metadata.reserve import Reserve
from prestow.metadata.tag import tag, untag
from tests.metadata.factory import Home, make_image

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
home = Home.open(disk)
image = make_image(home, os.urandom(100_000))
tag(home.db, home.content, "localhost/a:1", image.target)

def fill():
    with open(disk / "filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
"""

CLOSED = """
home.db.close()
fill()
try:
    Database(disk / "metadata.db").read("SELECT * FROM images")
    raise SystemExit("there was space left")
except ExhaustedError:
    pass

Reserve(disk / "metadata.db").make_room()
db = Database(disk / "metadata.db")
untag(db, home.content, "localhost/a:1")
assert set(sweep(db, home.content).of("blob")) == image.blobs
assert not (disk / "metadata.db-reserve").exists()
db.close()
(disk / "filler").unlink()
Database(disk / "metadata.db").close()
assert (disk / "metadata.db-reserve").stat().st_blocks * 512 >= 1 << 20
"""

FULL = """
partial = home.content.writer("layer")
try:
    while True:
        partial.write(os.urandom(65536))
except ExhaustedError as error:
    assert "No space left" in str(error), error
    assert home.content.status("layer").offset == partial.offset > 0
fill()
try:
    make_image(home, b"another")
    raise SystemExit("there was space left")
except ExhaustedError:
    pass

partial.abort()
fill()
assert home.content.read(image.target.digest)
untag(home.db, home.content, "localhost/a:1")
fill()
swept = sweep(home.db, home.content)
assert set(swept.of("blob")) == image.blobs, swept
assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > 100_000

again = make_image(home, b"another")
tag(home.db, home.content, "localhost/a:1", again.target)
"""

READ_ONLY = """
home.db.close()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
from prestow.content.local import LocalStore
content = LocalStore(disk / "content", disk / "ingest")
assert content.read(image.target.digest)
for attempt in (lambda: content.delete(image.target.digest), lambda: content.writer("x")):
    try:
        attempt()
        raise SystemExit("was written to")
    except StorageError as error:
        assert "read-only" in str(error), error
try:
    print([record.name for record in Images(Database(disk / "metadata.db")).list()])
except StorageError as error:
    assert "read-only" in str(error), error
"""


MARKS = """
from prestow.gc.collect import Rules
from prestow.gc.retention import Retention

untag(home.db, home.content, "localhost/a:1")
images = {}
for number in range(6):  # each with its layer and the diff blob of that
    images[f"localhost/{number}:1"] = made = make_image(home, os.urandom(1_000_000), note=str(number))
    Images(home.db, clock=lambda: 1000.0 * number).put(f"localhost/{number}:1", made.target)

def percent():
    found = os.statvfs(disk)
    return 100 * (found.f_blocks - found.f_bfree) / (found.f_blocks - found.f_bfree + found.f_bavail)

def swept(above, below, dry_run=False):
    return sweep(home.db, home.content, rules=Rules(Retention(above=above, below=below), dry_run=dry_run))

before = percent()
assert before > 75, before
assert set(swept(90, 20).of("blob")) == image.blobs, "below the high mark no name goes"
told, done = swept(75, 50, dry_run=True), swept(75, 50)
assert set(told.removed) == set(done.removed)
gone = done.of("image")
assert gone == tuple(images)[: len(gone)] and 0 < len(gone) < 5, gone
assert 50 - 13 < percent() <= 50, (before, percent(), gone)  # one more had not been needed: each takes 12 percent
assert set().union(*(images[name].blobs for name in images if name not in gone)) == home.digests()
assert swept(75, 50).removed == ()

(disk / "filler").write_bytes(bytes(6 << 20))
swept(50, 10)
assert home.digests() == set() and percent() > 10, "what others have there nobody can free"
"""


def run(script: str, disk: Path) -> None:
    """Run a script in a mount namespace of its own, so that nothing stays mounted."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", PRELUDE + script, str(disk)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_on_a_full_disk_reading_forgetting_and_collecting_work(tmp_path: Path) -> None:
    run(FULL, tmp_path)


def test_a_store_is_opened_on_a_full_disk_to_remove_things(tmp_path: Path) -> None:
    run(CLOSED, tmp_path)


def test_a_read_only_store_is_read_and_says_why_it_cannot_be_written(tmp_path: Path) -> None:
    run(READ_ONLY, tmp_path)


def test_between_the_marks_a_real_disk_is_made_as_empty_as_was_told(tmp_path: Path) -> None:
    run(MARKS, tmp_path)
