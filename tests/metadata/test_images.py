"""Names and containers."""

from dataclasses import replace

import pytest

from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, NotFoundError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.images import Images
from tests.metadata.factory import Home, absent

ONE, TWO = absent(b"one"), absent(b"two")
BOX = ContainerRecord("default", "box", "docker.io/library/a:1", Digest.of(b"m"), "erofs", "box", "/bundles/box", 5.0)


def test_a_name_is_found_until_it_is_removed(home: Home) -> None:
    images = Images(home.db, clock=lambda: 7.0)
    record = images.put("b", ONE)

    assert images.get("b") == record
    assert (record.name, record.target, record.created_at, record.updated_at) == ("b", ONE, 7.0, 7.0)
    images.put("a", TWO)
    assert [image.name for image in images.list()] == ["a", "b"]

    assert images.remove("b") == record
    for look in (images.get, images.remove):
        with pytest.raises(NotFoundError, match="image b is not in the store"):
            look("b")


def test_a_name_moves_and_keeps_its_age(home: Home) -> None:
    Images(home.db, clock=lambda: 1.0).put("a", ONE)

    record = Images(home.db, clock=lambda: 2.0).put("a", TWO)

    assert (record.target, record.created_at, record.updated_at) == (TWO, 1.0, 2.0)


def test_the_same_name_again_changes_nothing(home: Home) -> None:
    record = Images(home.db, clock=lambda: 1.0).put("a", ONE)

    assert Images(home.db, clock=lambda: 2.0).put("a", ONE) == record


def test_a_container_is_found_until_it_is_removed(home: Home) -> None:
    containers = Containers(home.db)

    assert containers.put(BOX) == BOX
    assert containers.get("box") == BOX
    assert containers.list() == (BOX,)

    assert containers.remove("box") == BOX
    for look in (containers.get, containers.remove):
        with pytest.raises(NotFoundError, match="container box"):
            look("box")


def test_the_same_container_again_is_success(home: Home) -> None:
    containers = Containers(home.db)
    containers.put(BOX)

    assert containers.put(replace(BOX, created_at=9.0)) == BOX


def test_another_container_of_the_id_already_exists(home: Home) -> None:
    containers = Containers(home.db)
    containers.put(BOX)

    for other in (
        replace(BOX, image="x"),
        replace(BOX, manifest_digest=Digest.of(b"x")),
        replace(BOX, driver="native"),
        replace(BOX, snapshot_key="x"),
        replace(BOX, bundle="x"),
    ):
        with pytest.raises(AlreadyExistsError, match="box"):
            containers.put(other)
    assert containers.get("box") == BOX
