"""Names in namespaces, their labels, and what they stood for before."""

from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.database import Database
from prestow.metadata.images import Images
from prestow.metadata.layout_index import Named, read_index
from prestow.metadata.namespace import check_namespace
from prestow.metadata.publish import publish_names
from prestow.metadata.tag import recover_names, tag, untag
from tests.metadata.factory import Home, absent, make_image

ONE, TWO = absent(b"one"), absent(b"two")


@pytest.mark.parametrize("text", ["a", "default", "A9", "team-a", "a.b_c-d", "k8s.io", "x" * 76])
def test_a_namespace_is_letters_and_digits_with_single_marks_between(text: str) -> None:
    assert check_namespace(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "a--b", "a._b", "a/b", "..", ".", "a b", "ä", "a\n", "x" * 77])
def test_other_text_is_no_namespace(text: str) -> None:
    with pytest.raises(InvalidError, match="namespace"):
        check_namespace(text)


def test_a_name_is_its_namespace_s_alone(home: Home) -> None:
    ours, theirs = Images(home.db, "a"), Images(home.db, "b")
    ours.put("name", ONE)
    theirs.put("name", TWO)

    assert (ours.get("name").target, theirs.get("name").target) == (ONE, TWO)
    assert [(image.namespace, image.name) for image in ours.every()] == [("a", "name"), ("b", "name")]
    ours.remove("name")
    with pytest.raises(NotFoundError, match="namespace a"):
        ours.get("name")
    assert theirs.list() == theirs.every() == (theirs.get("name"),)


def test_a_container_is_its_namespace_s_alone(home: Home) -> None:
    ours, theirs = Containers(home.db, "a"), Containers(home.db, "b")
    box = [ContainerRecord(ns, "box", "x", ONE.digest, "erofs", f"{ns}/box", f"/{ns}", 1.0) for ns in "ab"]

    assert [ours.put(box[0]), theirs.put(box[1])] == box
    assert ours.every() == tuple(box)
    assert ours.remove("box") == box[0]
    assert (ours.list(), theirs.list()) == ((), (box[1],))


def test_the_index_has_all_names_and_other_tools_see_the_default_ones(home: Home) -> None:
    image = make_image(home, b"layer")
    tag(home.db, home.content, "localhost/a:1", image.target)
    tag(home.db, home.content, "localhost/a:1", image.target, namespace="team")
    Images(home.db, "team").label("localhost/a:1", {"k": "v", "empty": ""})
    publish_names(home.db, home.content)

    assert read_index(home.content.root) == [
        Named("localhost/a:1", image.target),
        Named("localhost/a:1", image.target, "team", {"k": "v", "empty": ""}),
    ]
    assert (home.content.root / "index.json").read_text().count("org.opencontainers.image.ref.name") == 1


def test_names_and_labels_of_all_namespaces_are_read_back_from_the_index(home: Home, tmp_path: Path) -> None:
    image = make_image(home, b"layer")
    for namespace in ("default", "team"):
        tag(home.db, home.content, "localhost/a:1", image.target, namespace=namespace)
        Images(home.db, namespace).label("localhost/a:1", {"of": namespace})
    publish_names(home.db, home.content)

    db = Database(tmp_path / "other.db", on_create=recover_names(home.content))

    assert [(image.namespace, image.name, image.target, image.labels) for image in Images(db).every()] == [
        (namespace, "localhost/a:1", image.target, {"of": namespace}) for namespace in ("default", "team")
    ]
    db.close()


def test_labels_are_set_changed_and_taken_away(home: Home) -> None:
    images = Images(home.db)
    images.put("name", ONE)

    assert images.label("name", {"a": "1", "b": "2"}).labels == {"a": "1", "b": "2"}
    assert images.label("name", {"a": None, "b": "3", "none": None, "c": ""}).labels == {"b": "3", "c": ""}
    assert images.put("name", TWO).labels == {"b": "3", "c": ""}, "a name that moves keeps its labels"
    assert images.get("name") == images.list()[0]


@pytest.mark.parametrize("changes", [{"": "v"}, {"a=b": "v"}, {"k": "v" * 4096}, {"k" * 4097: None}])
def test_a_label_that_cannot_be_kept_is_refused(home: Home, changes: dict[str, str | None]) -> None:
    images = Images(home.db)
    images.put("name", ONE)
    images.label("name", {"k": "v" * 4095})

    with pytest.raises(InvalidError, match="label"):
        images.label("name", changes)
    with pytest.raises(NotFoundError):
        images.label("other", {})
    assert images.get("name").labels == {"k": "v" * 4095}


def test_a_use_is_noted(home: Home) -> None:
    images = Images(home.db, clock=lambda: 5.0)
    images.put("name", ONE)
    assert images.get("name").used_at is None

    images.use("name")
    images.use("unknown")

    assert images.get("name").used_at == 5.0


def generations(home: Home) -> list[tuple[str, float]]:
    rows = home.db.read("SELECT digest, replaced_at FROM generations ORDER BY replaced_at")
    return [(row["digest"], row["replaced_at"]) for row in rows]


def test_what_a_name_stood_for_before_is_a_generation_of_it(home: Home) -> None:
    for now, target in enumerate((ONE, ONE, TWO, ONE)):
        Images(home.db, clock=lambda now=now: float(now)).put("name", target)

    assert generations(home) == [(str(TWO.digest), 3.0)], "what the name stands for now is none"
    Images(home.db).put("other", TWO)
    Images(home.db).remove("name")
    assert generations(home) == []


def test_untag_forgets_in_its_namespace(home: Home) -> None:
    image = make_image(home, b"layer")
    for namespace in ("default", "team"):
        tag(home.db, home.content, "localhost/a:1", image.target, namespace=namespace)

    untag(home.db, home.content, "localhost/a:1", namespace="team")

    assert [named.namespace for named in read_index(home.content.root)] == ["default"]
