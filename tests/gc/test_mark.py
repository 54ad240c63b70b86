"""What must stay: everything that a name, a container or a lease leads to, and no guessing."""

import json
import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from prestow.digest import Digest
from prestow.errors import PreconditionError
from prestow.gc.collect import Rules, sweep
from prestow.gc.survey import survey
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.images import Images
from prestow.metadata.leases import Leases
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from tests.metadata.factory import Home, Made, absent, config, make_image, make_index, manifest


@dataclass(frozen=True)
class Marked:
    """What is kept: digests of blobs and chain IDs, here or not."""

    blobs: AbstractSet[Digest]
    chains: AbstractSet[Digest]


def marked(home: Home) -> Marked:
    sweep(home.db, home.content, rules=Rules(dry_run=True))  # fails where the graph says that something is broken
    kept = survey(home.db, home.content, ()).holds.reachable()
    return Marked(*({Digest(thing.name) for thing in kept if thing.kind == kind} for kind in ("blob", "key")))


def name(home: Home, target: Descriptor) -> None:
    Images(home.db).put("localhost/named:1", target)


def contain(home: Home, digest: Digest) -> None:
    Containers(home.db).put(ContainerRecord("default", "box", "localhost/named:1", digest, "erofs", "box", "/b", 1.0))


def lease(home: Home, *keys: str) -> None:
    leases = Leases(home.db)
    leases.add(leases.create("test", 60).id, "content", keys)


@pytest.mark.parametrize("docker", [False, True])
def test_a_name_leads_to_manifest_config_layers_diff_ids_and_every_chain(home: Home, *, docker: bool) -> None:
    image = make_image(home, b"1", b"2", b"3", docker=docker)
    make_image(home, b"other")
    name(home, image.target)

    found = marked(home)

    assert found.blobs == image.blobs
    assert found.chains == set(image.chains)
    assert len(found.chains) == 3


def test_no_names_lead_nowhere(home: Home) -> None:
    make_image(home, b"1")

    assert marked(home) == Marked(set(), set())


def test_a_container_leads_to_its_image_after_the_name_is_gone(home: Home) -> None:
    image = make_image(home, b"1")
    contain(home, image.target.digest)

    assert marked(home) == Marked(image.blobs, set(image.chains))


def test_a_shared_layer_has_different_chains_in_different_images(home: Home) -> None:
    one, two = make_image(home, b"base", b"1"), make_image(home, b"base", b"2")
    name(home, one.target)
    contain(home, two.target.digest)

    assert marked(home) == Marked(one.blobs | two.blobs, {*one.chains, *two.chains})


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_leads_to_the_manifests_that_are_here(home: Home, *, docker: bool) -> None:
    here, other = make_image(home, b"1", docker=docker), make_image(home, b"2", docker=docker)
    missing = absent(b"never pulled", here.target.media_type)
    index = make_index(home, missing, here.target, docker=docker)
    name(home, index)

    found = marked(home)

    assert found.blobs == here.blobs | {index.digest, missing.digest}
    assert not found.blobs & other.documents


def test_an_index_in_an_index_is_followed(home: Home) -> None:
    image = make_image(home, b"1")
    outer = make_index(home, make_index(home, image.target), absent(b"other", mediatypes.OCI_INDEX))
    name(home, outer)

    assert image.blobs < marked(home).blobs
    assert marked(home).chains == set(image.chains)


def test_a_second_platform_that_is_half_pulled_is_kept_and_does_no_harm(home: Home) -> None:
    whole = make_image(home, b"1")
    layer = home.put(b"half", mediatypes.OCI_LAYER)
    half = home.put(manifest(absent(b"config", mediatypes.OCI_CONFIG), layer), mediatypes.OCI_MANIFEST)
    name(home, make_index(home, whole.target, half))

    assert whole.blobs | {half.digest, layer.digest} < marked(home).blobs


def test_what_is_no_container_image_is_kept_without_reading_its_config(home: Home) -> None:
    chart = home.put(b"not json", "application/vnd.cncf.helm.config.v1+json")
    name(home, home.put(manifest(chart, home.put(b"tgz", "application/x")), mediatypes.OCI_MANIFEST))

    assert marked(home) == Marked(home.digests(), set())


def test_an_index_may_have_other_things_among_its_manifests(home: Home) -> None:
    image = make_image(home, b"1")
    other = home.put(b"anything", "application/x")
    name(home, make_index(home, other, image.target))

    assert image.blobs | {other.digest} < marked(home).blobs


def test_what_is_shared_by_a_thousand_names_is_read_once(home: Home) -> None:
    image = make_image(home, b"1")
    with home.db.transaction():
        for n in range(1000):
            Images(home.db).put(f"localhost/name:{n}", image.target)

    assert marked(home).blobs == image.blobs


def _flip(home: Home, digest: Digest) -> None:
    path = home.content.path(digest)
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data.replace(b"sha256", b"sha255", 1))


def _truncate(home: Home, digest: Digest) -> None:
    home.content.path(digest).chmod(0o600)
    os.truncate(home.content.path(digest), 10)


def _empty(home: Home, digest: Digest) -> None:
    home.content.path(digest).chmod(0o600)
    os.truncate(home.content.path(digest), 0)


def _replace_by_folder(home: Home, digest: Digest) -> None:
    home.content.delete(digest)
    home.content.path(digest).mkdir()


def _remove(home: Home, digest: Digest) -> None:
    home.content.delete(digest)


Damage: TypeAlias = Callable[[Home, Digest], None]
DAMAGES: list[Damage] = [_flip, _truncate, _empty, _replace_by_folder]


@pytest.mark.parametrize("damage", [*DAMAGES, _remove])
@pytest.mark.parametrize("part", ["target", "config"])
@pytest.mark.parametrize("root", ["image", "container"])
def test_a_damaged_or_missing_document_stops_everything_and_is_named(
    home: Home, damage: Damage, part: str, root: str
) -> None:
    image = make_image(home, b"1")
    if root == "image":
        name(home, image.target)
    else:
        contain(home, image.target.digest)
    damage(home, getattr(image, part).digest)

    with pytest.raises(PreconditionError, match=f"{root} .*nothing was removed"):
        marked(home)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["target", "config"])
def test_damage_below_an_index_stops_everything_even_if_another_platform_is_whole(
    home: Home, damage: Damage, part: str
) -> None:
    good, bad = make_image(home, b"1"), make_image(home, b"2")
    name(home, make_index(home, good.target, bad.target))
    damage(home, getattr(bad, part).digest)

    with pytest.raises(PreconditionError, match="nothing was removed"):
        marked(home)


@pytest.mark.parametrize("damage", [*DAMAGES, _remove])
def test_a_damaged_or_missing_index_stops_everything(home: Home, damage: Damage) -> None:
    index = make_index(home, make_image(home, b"1").target)
    name(home, index)
    damage(home, index.digest)

    with pytest.raises(PreconditionError, match="nothing was removed"):
        marked(home)


def test_an_index_without_any_whole_image_stops_everything(home: Home) -> None:
    name(home, make_index(home, absent(b"1"), absent(b"2")))

    with pytest.raises(PreconditionError, match="its layers are unknown"):
        marked(home)


def test_a_size_that_the_descriptor_does_not_tell_stops_everything(home: Home) -> None:
    image = make_image(home, b"1")
    name(home, Descriptor(image.target.media_type, image.target.digest, image.target.size + 1))

    with pytest.raises(PreconditionError, match="its descriptor says"):
        marked(home)


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"[" * 100_000,
        b'{"schemaVersion": 1, "fsLayers": []}',
        json.dumps({"schemaVersion": 2, "config": None, "layers": []}).encode(),
    ],
)
def test_a_document_that_cannot_be_understood_stops_everything(home: Home, document: bytes) -> None:
    name(home, home.put(document, mediatypes.OCI_MANIFEST))

    with pytest.raises(PreconditionError, match="nothing was removed"):
        marked(home)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"x" * (5 << 20), config([Digest("md5:00")])], ids=len)
def test_a_config_that_is_no_image_config_stays_with_the_layers_and_stops_nothing(home: Home, raw: bytes) -> None:
    layer, image_config = home.put(b"layer", mediatypes.OCI_LAYER), home.put(raw, mediatypes.OCI_CONFIG)
    target = home.put(manifest(image_config, layer), mediatypes.OCI_MANIFEST)
    name(home, target)

    assert marked(home) == Marked({target.digest, image_config.digest, layer.digest}, set())


def test_a_lease_holds_a_blob_and_what_it_leads_to(home: Home) -> None:
    image = make_image(home, b"1")
    lease(home, image.target.digest)

    assert marked(home) == Marked(image.blobs, set(image.chains))


def test_a_lease_holds_what_is_not_here_yet_or_is_no_document(home: Home) -> None:
    layer = home.put(b"layer")
    layer_config = home.put(config([]), mediatypes.OCI_CONFIG)
    coming = Digest.of(b"coming")
    lease(home, layer.digest, layer_config.digest, coming, "not a digest")

    assert marked(home).blobs == {layer.digest, layer_config.digest, coming}


@pytest.mark.parametrize("damage", [*DAMAGES, _remove])
@pytest.mark.parametrize("part", ["target", "config"])
def test_damage_below_a_lease_stops_nothing(home: Home, damage: Damage, part: str) -> None:
    image, other = make_image(home, b"1"), make_image(home, b"2")
    lease(home, image.target.digest, *(layer.digest for layer in image.layers))
    name(home, other.target)
    damage(home, getattr(image, part).digest)

    assert {image.target.digest, image.layers[0].digest} | other.blobs <= marked(home).blobs


def test_a_lease_on_a_damaged_document_does_not_excuse_its_name(home: Home) -> None:
    image: Made = make_image(home, b"1")
    lease(home, image.target.digest)
    name(home, image.target)
    _flip(home, image.target.digest)

    with pytest.raises(PreconditionError):
        marked(home)
