"""Assembling: a manifest and its config become one value, or do not fit."""

import pickle

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, UnsupportedError
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image import Image, assemble
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.platforms import Platform
from tests.oci import samples
from tests.oci.samples import descriptor, raw

INDEX = Descriptor(mediatypes.OCI_INDEX, Digest.of(b"index"), 5)
MANIFEST = Manifest.parse(raw(samples.manifest()))
CONFIG = ImageConfig.parse(raw(samples.config()))


def with_diff_ids(*contents: bytes) -> ImageConfig:
    diff_ids = [str(Digest.of(content)) for content in contents]
    return ImageConfig.parse(raw(samples.config(rootfs={"type": "layers", "diff_ids": diff_ids})))


def test_a_layer_knows_both_its_names_and_its_place() -> None:
    image = assemble(INDEX, MANIFEST, CONFIG)

    assert [(layer.position, layer.total) for layer in image.layers] == [(0, 2), (1, 2)]
    assert tuple(layer.descriptor for layer in image.layers) == MANIFEST.layers
    assert tuple(layer.diff_id for layer in image.layers) == CONFIG.diff_ids
    assert tuple(layer.chain_id for layer in image.layers) == chain_ids(CONFIG.diff_ids)
    assert image.chain_id == image.layers[1].chain_id
    assert (image.target, image.config, image.platform) == (INDEX, MANIFEST.config, Platform("linux", "arm64", "v8"))


def test_the_manifest_of_an_index_is_described_by_its_bytes_or_as_it_was_selected() -> None:
    found = assemble(INDEX, MANIFEST, CONFIG).manifest
    selected = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(MANIFEST.raw, "sha512"), len(MANIFEST.raw))

    assert (found.media_type, found.digest, found.size) == (MANIFEST.media_type, MANIFEST.digest, len(MANIFEST.raw))
    assert assemble(INDEX, MANIFEST, CONFIG, selected=selected).manifest == selected


def test_a_manifest_that_is_the_target_keeps_its_descriptor() -> None:
    target = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(MANIFEST.raw, "sha512"), len(MANIFEST.raw))

    assert assemble(target, MANIFEST, CONFIG).manifest == target


@pytest.mark.parametrize("contents", [(), (b"one",), (b"one", b"two", b"three")])
def test_layers_and_diff_ids_are_equally_many(contents: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidError, match=rf"has 2 layers, its config \S+ {len(contents)} diff IDs"):
        assemble(INDEX, MANIFEST, with_diff_ids(*contents))


def test_a_layer_that_stands_twice_has_one_diff_id() -> None:
    twice = Manifest.parse(raw(samples.manifest(layers=[descriptor(), descriptor()])))

    assert len(assemble(INDEX, twice, with_diff_ids(b"same", b"same")).layers) == 2
    with pytest.raises(InvalidError, match="has two diff IDs"):
        assemble(INDEX, twice, with_diff_ids(b"one", b"other"))


def test_what_is_no_container_image_is_not_assembled() -> None:
    chart = Manifest.parse(raw(samples.manifest(config=descriptor(b"{}", "application/vnd.cncf.helm.config.v1+json"))))

    with pytest.raises(UnsupportedError, match="not a container image"):
        assemble(INDEX, chart, CONFIG)


def test_an_image_can_be_hashed_compared_and_pickled() -> None:
    image = assemble(INDEX, MANIFEST, CONFIG)

    copy = pickle.loads(pickle.dumps(image))

    assert copy == image
    assert hash(copy) == hash(image)
    assert isinstance(copy, Image)
