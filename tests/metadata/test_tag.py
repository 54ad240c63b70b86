"""The step *tag*, and what other tools make of ``index.json``."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError, PreconditionError, StorageError
from prestow.metadata.database import Database
from prestow.metadata.images import Images
from prestow.metadata.layout_index import REF_NAME, Named, read_index, write_index
from prestow.metadata.tag import label, recover_names, tag, untag
from tests.metadata.factory import Home, absent, make_image, make_index

DIGEST = "sha256:b86b37346b1b2e7fe147d2671292ccaaa1b899bcdaf5cd8ce7f0ff58bc28c781"
"""Of the image whose only layer is ``layer``."""

NAMES = [
    "127.0.0.1:5000/test/tiny:gz",
    "docker.io/library/tiny:latest",
    "localhost/a/b--c:1.0_x-y",
    f"registry.example:443/deep/er/name:v1@{DIGEST}",
    f"docker.io/library/tiny@{DIGEST}",
]


def names(home: Home) -> list[str]:
    """Return the names in ``index.json``."""
    document = json.loads((home.content.root / "index.json").read_text())
    return [entry["annotations"][REF_NAME] for entry in document["manifests"]]


def output(*command: str | Path) -> str:
    """Run a tool that must succeed."""
    run = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_name_stands_in_the_database_and_in_the_index(home: Home) -> None:
    image = make_image(home, b"layer")

    record = tag(home.db, home.content, "localhost/a:1", image.target)

    assert record == Images(home.db).get("localhost/a:1")
    assert record.target == image.target
    assert read_index(home.content.root) == [Named("localhost/a:1", image.target)]


def test_tagging_again_writes_nothing(home: Home) -> None:
    image = make_image(home, b"layer")
    record = tag(home.db, home.content, "localhost/a:1", image.target)
    before = (home.content.root / "index.json").stat()

    assert tag(home.db, home.content, "localhost/a:1", image.target) == record

    assert (home.content.root / "index.json").stat().st_ino == before.st_ino


def test_a_name_moves(home: Home) -> None:
    one, two = make_image(home, b"1"), make_image(home, b"2")
    tag(home.db, home.content, "localhost/a:1", one.target)

    tag(home.db, home.content, "localhost/a:1", two.target)

    assert read_index(home.content.root) == [Named("localhost/a:1", two.target)]


def test_a_name_says_where_its_image_came_from(home: Home) -> None:
    one, two = make_image(home, b"1"), make_image(home, b"2")
    for image, source in [(one, "registry.example/a:1"), (one, "oci:/b:2"), (two, "example/c:1"), (two, None)]:
        record = tag(home.db, home.content, "localhost/a:1", image.target, source=source)
        label(home.db, home.content, "localhost/a:1", {"mine": "stays"})

        assert record.labels.get("prestow.source") == source
        assert record.sources == ((source,) if source else ())
        assert read_index(home.content.root)[0].labels.get("prestow.source") == source

    assert Images(home.db).get("localhost/a:1").labels == {"mine": "stays"}


def test_what_is_not_here_cannot_be_named(home: Home) -> None:
    with pytest.raises(PreconditionError, match="not in the content store"):
        tag(home.db, home.content, "localhost/a:1", absent(b"{}"))

    assert Images(home.db).list() == ()
    assert names(home) == []


def test_a_name_with_a_digest_stands_for_no_other(home: Home) -> None:
    other = make_image(home, b"other")

    with pytest.raises(InvalidError, match="choose a name without digest"):
        tag(home.db, home.content, NAMES[-1], other.target)

    assert Images(home.db).list() == ()


def test_a_name_is_taken_back(home: Home) -> None:
    image = make_image(home, b"layer")
    for name in NAMES:
        tag(home.db, home.content, name, image.target)

    untag(home.db, home.content, NAMES[0])

    assert names(home) == sorted(NAMES[1:])
    with pytest.raises(NotFoundError):
        untag(home.db, home.content, NAMES[0])
    assert home.digests() == image.blobs


def test_the_index_is_not_touched_if_the_database_says_no(home: Home) -> None:
    image = make_image(home, b"layer")
    before = (home.content.root / "index.json").read_bytes()
    with home.db.transaction() as cursor:
        cursor.execute("CREATE TRIGGER no BEFORE INSERT ON images BEGIN SELECT raise(ABORT, 'no'); END")

    with pytest.raises(PreconditionError):
        tag(home.db, home.content, "localhost/a:1", image.target)

    assert (home.content.root / "index.json").read_bytes() == before


def test_other_tools_read_the_store_as_it_is(home: Home) -> None:
    image = make_image(home, b"layer")
    index = make_index(home, image.target, absent(b"{}"))
    docker = make_image(home, b"one", docker=True)
    for name in NAMES:
        tag(home.db, home.content, name, image.target)
    tag(home.db, home.content, "docker.io/library/many:1", index)
    tag(home.db, home.content, "docker.io/library/docker:1", docker.target)
    layout = home.content.root

    for name in NAMES:
        assert json.loads(output("skopeo", "inspect", "--raw", f"oci:{layout}:{name}")) == json.loads(
            home.content.read(image.target.digest)
        )
        assert json.loads(output("umoci", "stat", "--json", "--image", f"{layout}:{name}")) == {"history": None}
    raw = json.loads(output("skopeo", "inspect", "--raw", f"oci:{layout}:docker.io/library/many:1"))
    assert len(raw["manifests"]) == 2
    assert set(output("umoci", "ls", "--layout", layout).split()) == {
        *NAMES,
        "docker.io/library/many:1",
        "docker.io/library/docker:1",
    }


def test_skopeo_copies_an_image_out_of_the_store(home: Home, tmp_path: Path) -> None:
    image = make_image(home, b"layer")
    tag(home.db, home.content, NAMES[0], image.target)

    output("skopeo", "copy", "--preserve-digests", f"oci:{home.content.root}:{NAMES[0]}", f"oci:{tmp_path / 'copy'}:x")

    copied = {path.name for path in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    assert copied == {digest.encoded for digest in image.blobs - set(image.diff_ids)}


def test_names_of_a_lost_database_are_read_back(home: Home) -> None:
    image, gone = make_image(home, b"layer"), make_image(home, b"2")
    for name in NAMES:
        tag(home.db, home.content, name, image.target)
    tag(home.db, home.content, "localhost/gone:1", gone.target)
    home.content.delete(gone.target.digest)
    home.db.close()
    for path in home.path.glob("metadata.db*"):
        path.unlink()

    db = Database(home.path / "metadata.db", on_create=recover_names(home.content))

    assert {record.name: record.target for record in Images(db).list()} == dict.fromkeys(NAMES, image.target)
    db.close()


def test_names_of_a_new_store_are_none(home: Home, tmp_path: Path) -> None:
    Database(tmp_path / "other.db", on_create=recover_names(home.content)).close()


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schemaVersion": 2, "manifests": [{"digest": 5}]}', b"\xff"])
def test_a_damaged_index_does_not_pass_for_one_without_names(home: Home, tmp_path: Path, damage: bytes) -> None:
    (home.content.root / "index.json").write_bytes(damage)

    with pytest.raises(InvalidError):
        Database(tmp_path / "other.db", on_create=recover_names(home.content))


def test_a_missing_index_says_so(home: Home) -> None:
    (home.content.root / "index.json").unlink()

    with pytest.raises(StorageError):
        read_index(home.content.root)

    write_index(home.content.root, [])
    assert read_index(home.content.root) == []


def test_entries_without_a_name_are_passed_over(home: Home) -> None:
    index = make_index(home, absent(b"1"))
    shutil.copy(home.content.path(index.digest), home.content.root / "index.json")

    assert read_index(home.content.root) == []
