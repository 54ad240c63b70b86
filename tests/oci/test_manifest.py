"""Manifests: what is one, what only looks like one, and what is no container image (threats B-09 … B-14)."""

from typing import Any

import pytest

from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, UnsupportedError
from prestow.oci import mediatypes
from prestow.oci.manifest import MAX_LAYERS, Manifest
from tests.oci import samples
from tests.oci.samples import descriptor, raw


def parse(media_type: str | None = None, **changes: object) -> Manifest:
    return Manifest.parse(raw(samples.manifest(**changes)), media_type)


def test_a_manifest_is_read_and_keeps_its_bytes() -> None:
    document = b" " + raw(samples.manifest()) + b"\n"

    manifest = Manifest.parse(document, mediatypes.OCI_MANIFEST)

    assert manifest.raw == document
    assert manifest.digest == Digest.of(document)
    assert manifest.media_type == mediatypes.OCI_MANIFEST
    assert manifest.config.media_type == mediatypes.OCI_CONFIG
    assert [layer.size for layer in manifest.layers] == [13, 13]
    assert manifest.annotations == {"org.example.note": "hello"}


def test_a_docker_manifest_is_read() -> None:
    assert parse(mediaType=mediatypes.DOCKER_MANIFEST).media_type == mediatypes.DOCKER_MANIFEST


def test_a_manifest_without_a_media_type_is_what_it_came_as() -> None:
    document = samples.manifest()
    del document["mediaType"]

    assert Manifest.parse(raw(document)).media_type == mediatypes.OCI_MANIFEST
    assert Manifest.parse(raw(document), mediatypes.DOCKER_MANIFEST).media_type == mediatypes.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("came_as", "own"),
    [
        (mediatypes.DOCKER_MANIFEST, mediatypes.OCI_MANIFEST),
        (mediatypes.OCI_MANIFEST, mediatypes.DOCKER_MANIFEST),
        (mediatypes.OCI_MANIFEST, mediatypes.OCI_INDEX),
        (mediatypes.OCI_INDEX, mediatypes.OCI_INDEX),
        (mediatypes.OCI_INDEX, mediatypes.OCI_MANIFEST),
        (None, mediatypes.OCI_INDEX),
        (None, mediatypes.DOCKER_LIST),
        ("text/html", mediatypes.OCI_MANIFEST),
        (mediatypes.OCI_MANIFEST, "text/html"),
        (mediatypes.OCI_MANIFEST, mediatypes.OCI_MANIFEST.upper()),
    ],
)
def test_a_media_type_that_contradicts_is_invalid(came_as: str | None, own: str) -> None:
    with pytest.raises(InvalidError):
        parse(came_as, mediaType=own)


@pytest.mark.parametrize("value", [[], None, {}, [descriptor()], "x"])
@pytest.mark.parametrize("own", [mediatypes.OCI_MANIFEST, None])
def test_a_manifest_that_could_pass_for_an_index_is_invalid(value: object, own: str | None) -> None:
    with pytest.raises(InvalidError, match="could be read as another kind"):
        parse(manifests=value, mediaType=own)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": None}, {"layers": {}}, {"layers": "x"}, {"layers": [None]}, {"layers": [[]]}, {"layers": ["x"]},
        {"layers": [{}]}, {"config": None}, {"config": []}, {"config": "x"}, {"config": {}}, {"schemaVersion": 3},
        {"schemaVersion": "2"}, {"schemaVersion": True}, {"schemaVersion": None}, {"schemaVersion": 2.0},
        {"mediaType": 5}, {"annotations": []}, {"annotations": {"a": 1}}, {"Layers": []}, {"CONFIG": {}},
        {"mediatype": "x"}, {"Manifests": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_of_the_wrong_shape_is_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"^manifest sha256:[0-9a-f]{12}"):
        parse(**change)


@pytest.mark.parametrize("field", ["schemaVersion", "config", "layers"])
def test_a_required_field_is_there(field: str) -> None:
    document = samples.manifest()
    del document[field]

    with pytest.raises(InvalidError, match=field):
        Manifest.parse(raw(document))


def test_schema_1_is_refused_by_name() -> None:
    signed = {"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}

    for came_as in (None, *mediatypes.SCHEMA_1, mediatypes.DOCKER_MANIFEST):
        with pytest.raises(UnsupportedError, match="schema 1 is not supported"):
            Manifest.parse(raw(signed), came_as)
    with pytest.raises(UnsupportedError, match="schema 1 is not supported"):
        parse(fsLayers=[])


def test_one_digest_with_two_sizes_or_types_is_invalid() -> None:
    layer = descriptor()

    for other in ({**layer, "size": 2}, {**layer, "mediaType": mediatypes.OCI_LAYER_ZSTD}):
        with pytest.raises(InvalidError, match="in one place"):
            parse(layers=[layer, other])
    with pytest.raises(InvalidError, match="in one place"):
        parse(config=descriptor(media_type=mediatypes.OCI_CONFIG), layers=[layer])


def test_one_layer_may_stand_twice() -> None:
    assert len(parse(layers=[descriptor(), descriptor()]).layers) == 2


def test_too_many_layers_are_refused_before_they_are_looked_at() -> None:
    assert len(parse(layers=[descriptor()] * MAX_LAYERS).layers) == MAX_LAYERS
    with pytest.raises(ExhaustedError, match="limited to 1000 layers"):
        parse(layers=[None] * (MAX_LAYERS + 1))


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.wasm.config.v0+json",
        "application/vnd.oci.empty.v1+json",
    ],
)
def test_another_artefact_is_a_manifest_but_no_container_image(media_type: str) -> None:
    manifest = parse(config=descriptor(b"{}", media_type), artifactType="application/x.y")

    with pytest.raises(
        UnsupportedError, match=r"not a container image .* artifact of type 'application/x\.y'; .* --no-unpack"
    ):
        manifest.check_image()


def test_an_attestation_an_encrypted_layer_and_no_layer_are_no_image() -> None:
    for layers, message in (
        ([descriptor(media_type="application/vnd.in-toto+json")], "no file system layer"),
        ([descriptor(), descriptor(b"y", f"{mediatypes.OCI_LAYER_GZIP}+encrypted")], "encrypted"),
        ([], "has no layers"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            parse(layers=layers).check_image()


def test_foreign_layers_are_part_of_an_image() -> None:
    foreign = f"{mediatypes.DOCKER_FOREIGN_LAYER}.gzip"

    parse(layers=[descriptor(media_type=foreign, urls=["https://elsewhere.example/"])]).check_image()
