"""Containers in the database, and their files: what is known of them should that be lost."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, NotFoundError
from prestow.metadata.container_files import ContainerFiles, ContainerRecord, container_file, read_containers
from prestow.metadata.containers import Containers, is_published, publish_containers
from prestow.metadata.database import Database
from tests.metadata.factory import Home

IDS = st.sampled_from(["a", "b", "A", "a+b", "..", "/etc/passwd", "x" * 128, "\n", "é"])
CHANGES = st.lists(st.tuples(st.booleans(), st.sampled_from(["default", "ci"]), IDS), max_size=12)


def container(container_id: str, namespace: str = "default", image: str = "x") -> ContainerRecord:
    return ContainerRecord(namespace, container_id, image, Digest.of(b"m"), "native", container_id, "/nowhere", 1.5)


def written_before(home: Path, records: Sequence[ContainerRecord]) -> None:
    """Write the file in which older versions had all containers."""
    (home / "containers.json").write_text(json.dumps([asdict(record) for record in records], indent=2))


def listed(home: Path) -> list[Path]:
    return sorted((home / "containers").iterdir())


@settings(max_examples=30, deadline=None)
@given(CHANGES)
def test_the_files_tell_what_the_database_says_after_each_change(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, str, str]]
) -> None:
    home = tmp_path_factory.mktemp("home")
    with closing(Database(home / "metadata.db")) as db:
        for adds, namespace, container_id in changes:
            containers = Containers(db, namespace)
            try:
                containers.put(container(container_id, namespace)) if adds else containers.remove(container_id)
            except NotFoundError:
                assert not adds

            assert read_containers(home) == ContainerFiles(Containers(db).every())
            assert is_published(db)
    assert [path for path in home.iterdir() if path.name.startswith(".")] == []


def test_a_change_reads_and_writes_no_file_but_its_own(home: Home) -> None:
    containers = Containers(home.db)
    for container_id in "abc":
        containers.put(container(container_id))
    for path in listed(home.path):
        path.write_text("spoiled")

    containers.put(container("d"))
    containers.remove("d")
    containers.remove("a")

    assert [path.read_text() for path in listed(home.path)] == ["spoiled"] * 2


def test_each_change_is_told_from_each_other(home: Home) -> None:
    containers, found = Containers(home.db), set()
    for number in range(20):
        containers.put(container("a"))
        found.add(tuple(home.db.read("SELECT * FROM published")[0]))
        containers.remove("a")
        found.add(tuple(home.db.read("SELECT * FROM published")[0]))
        assert len(found) == 2 * number + 2


def left_behind(home: Home) -> None:
    """Leave the files as somebody does who dies before his change is committed."""
    Containers(home.db).put(container("a"))
    path = container_file(home.path, container("a"))
    path.rename(container_file(home.path, container("b")))
    container_file(home.path, container("b")).write_text(json.dumps([asdict(container("b"))]))


@pytest.mark.parametrize("change", ["other", "same", "prune"])
def test_the_next_change_mends_what_one_left_that_was_not_committed(home: Home, change: str) -> None:
    left_behind(home)
    assert not is_published(home.db)

    if change == "prune":
        publish_containers(home.db)
    else:
        Containers(home.db).put(container("c" if change == "other" else "a"))

    assert is_published(home.db)
    assert read_containers(home.path) == ContainerFiles(Containers(home.db).every())


def test_a_container_that_is_refused_leaves_the_file_of_the_one_that_is_there(home: Home) -> None:
    containers = Containers(home.db)
    containers.put(container("a"))

    with pytest.raises(AlreadyExistsError):
        containers.put(container("a", image="y"))

    assert read_containers(home.path) == ContainerFiles((container("a"),))


def test_nonsense_costs_its_own_container_only(home: Home) -> None:
    containers = Containers(home.db)
    for container_id in "abcd":
        containers.put(container(container_id))
    broken, other, strange = (container_file(home.path, container(word)) for word in "acd")
    broken.write_bytes(b"\xff[")
    other.write_text(json.dumps([asdict(container("b"))]))
    strange.unlink()
    strange.mkdir()

    assert read_containers(home.path) == ContainerFiles((container("b"),), tuple(sorted((broken, other, strange))))


def made_before(home: Home, *records: ContainerRecord) -> None:
    """Make containers, and have them written as older versions did."""
    for record in records:
        Containers(home.db, record.namespace).put(record)
    for path in listed(home.path):
        path.unlink()
    (home.path / "containers").rmdir()
    with home.db.transaction() as cursor:
        cursor.execute("DELETE FROM published")
    written_before(home.path, records)


def test_the_first_change_makes_files_of_what_an_older_version_wrote(home: Home) -> None:
    made_before(home, container("a", "ci"), container("a"))
    assert read_containers(home.path) == ContainerFiles((container("a", "ci"), container("a")))
    assert not is_published(home.db)

    Containers(home.db).remove("a")

    assert not (home.path / "containers.json").exists()
    assert read_containers(home.path) == ContainerFiles((container("a", "ci"),))
    assert is_published(home.db)


def test_what_an_older_version_wrote_counts_alone_until_files_are_made_of_it(home: Home) -> None:
    made_before(home, container("a"), container("b"))
    stale = container_file(home.path, container("c"))
    stale.parent.mkdir()
    stale.write_text(json.dumps([asdict(container("c"))]))

    assert read_containers(home.path) == ContainerFiles((container("a"), container("b")))
    publish_containers(home.db)

    assert read_containers(home.path) == ContainerFiles((container("a"), container("b")))
    assert len(listed(home.path)) == 2
