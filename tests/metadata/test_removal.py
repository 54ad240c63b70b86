"""Images removed by name and by digest: all that are wanted or none."""

from collections.abc import Callable

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, PreconditionError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.images import Images, is_digest
from prestow.metadata.layout_index import read_index
from prestow.metadata.removal import containers_of, remove_images
from prestow.metadata.tag import tag
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from tests.metadata.factory import Home, Made, config, make_image, manifest

A, B, C = "docker.io/library/a:1", "localhost/b:1", "docker.io/library/c:1"


@pytest.fixture
def images(home: Home) -> tuple[Made, Made]:
    """Two images, the first with two names."""
    one, two = make_image(home, b"1"), make_image(home, b"2")
    for name, image in ((A, one), (B, one), (C, two)):
        tag(home.db, home.content, name, image.target)
    return one, two


def names(home: Home) -> list[str]:
    assert [named.name for named in read_index(home.content.root)] == [image.name for image in Images(home.db).list()]
    return [image.name for image in Images(home.db).list()]


def test_a_name_is_removed_alone(home: Home, images: tuple[Made, Made]) -> None:
    (removed,) = remove_images(home.db, home.content, ["a:1"])

    assert (removed.name, removed.target) == (A, images[0].target)
    assert names(home) == [C, B]
    assert home.digests() == images[0].blobs | images[1].blobs


def test_several_are_removed_together_each_once(home: Home, images: tuple[Made, Made]) -> None:
    removed = remove_images(home.db, home.content, ["c:1", "b:1", images[1].target.digest])

    assert [record.name for record in removed] == [C, B]
    assert names(home) == [A]


def test_a_digest_or_its_beginning_is_enough_where_it_has_one_name(home: Home, images: tuple[Made, Made]) -> None:
    assert remove_images(home.db, home.content, [images[1].target.digest.short])[0].name == C
    assert names(home) == [A, B]


def test_a_digest_with_two_names_is_removed_only_on_request(home: Home, images: tuple[Made, Made]) -> None:
    with pytest.raises(PreconditionError, match=f"has 2 names: {A}, {B}; .* --all"):
        remove_images(home.db, home.content, [C, images[0].target.digest])
    assert names(home) == [A, C, B]

    remove_images(home.db, home.content, [images[0].target.digest], every_name=True)

    assert names(home) == [C]


def test_what_is_not_there_keeps_all(home: Home, images: tuple[Made, Made]) -> None:
    for absent in ("d:1", "sha256:0000", images[0].config.digest):
        with pytest.raises(NotFoundError):
            remove_images(home.db, home.content, ["a:1", absent])
    with pytest.raises(NotFoundError):
        remove_images(home.db, home.content, ["a:1"], namespace="other")

    assert names(home) == [A, C, B]


def test_a_beginning_that_two_images_share_is_refused(home: Home, images: tuple[Made, Made]) -> None:
    layers = make_image(home, b"1").layers
    beginnings: dict[str, int] = {}
    for number in range(1000):  # of 65536 beginnings: two that are alike come soon
        document = config([Digest.of(b"1")], str(number))
        described = Descriptor(mediatypes.OCI_CONFIG, Digest.of(document), len(document))
        beginning = Digest.of(manifest(described, *layers))[: len("sha256:") + 4]
        if beginning in beginnings:
            break
        beginnings[beginning] = number
    pair = [make_image(home, b"1", note=str(n)) for n in (beginnings[beginning], number)]
    for image, name in zip(pair, ("localhost/n:1", "localhost/n:2"), strict=True):
        tag(home.db, home.content, name, image.target)

    with pytest.raises(InvalidError, match="several images begin so"):
        Images(home.db).find(beginning)
    assert Images(home.db).find(pair[1].target.digest).name == "localhost/n:2"


def test_a_name_that_a_container_was_made_of_stays_unless_forced(home: Home, images: tuple[Made, Made]) -> None:
    containers = Containers(home.db)
    containers.put(ContainerRecord("default", "box", A, images[0].target.digest, "erofs", "box", "/b", 1.0))
    Containers(home.db, "other").put(
        ContainerRecord("other", "theirs", C, images[1].target.digest, "erofs", "o/theirs", "/o", 1.0)
    )

    with pytest.raises(PreconditionError, match=r"containers were made of it: box; .* --force"):
        remove_images(home.db, home.content, ["c:1", "a:1"])
    assert names(home) == [A, C, B]

    remove_images(home.db, home.content, ["b:1", "c:1"])
    remove_images(home.db, home.content, ["a:1"], force=True)

    assert names(home) == []
    assert containers_of(containers, [A]) == ("box",)


def test_a_digest_finds_an_image_wherever_a_name_does(home: Home, images: tuple[Made, Made]) -> None:
    assert Images(home.db).find(images[0].target.digest).name == A


@pytest.mark.parametrize(
    "shorten", [lambda d: d[:10], lambda d: d.encoded[:12], lambda d: f"sha256:{d.encoded.upper()}"]
)
def test_who_writes_a_digest_in_another_way_is_told_how(
    home: Home, images: tuple[Made, Made], shorten: Callable[[Digest], str]
) -> None:
    with pytest.raises(NotFoundError, match="a digest is written sha256: and then four or more"):
        Images(home.db).find(shorten(images[0].target.digest))
    with pytest.raises(NotFoundError, match="lists what is"):
        Images(home.db).find("registry.example/absent:1")


def test_what_a_name_stood_for_before_is_recalled_by_its_digest(home: Home, images: tuple[Made, Made]) -> None:
    one, two = (image.target for image in images)
    tag(home.db, home.content, C, one)
    names = Images(home.db)

    assert (names.recall(two.digest).name, names.recall(two.digest.short).target) == (C, two)
    assert [(each.name, each.target) for each in names.generations()] == [(C, two)]
    assert names.recall("c:1").target == names.recall(one.digest).target == one
    for absent in ("d:1", "sha256:0000"):
        with pytest.raises(NotFoundError):
            names.recall(absent)
    with pytest.raises(NotFoundError):
        remove_images(home.db, home.content, [two.digest])
    with pytest.raises(NotFoundError):
        Images(home.db, "other").recall(two.digest)

    tag(home.db, home.content, C, names.recall(two.digest).target)
    assert [each.target for each in names.generations()] == [one]


@pytest.mark.parametrize(
    "text", ["sha256:abc", "sha256:ABCD", "sha1:abcd", "abcd", "a@sha256:abcd", "sha256:" + "a" * 65]
)
def test_other_text_is_a_reference(text: str) -> None:
    assert not is_digest(text)
