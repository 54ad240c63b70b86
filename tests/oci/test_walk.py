"""Walking: which kind a document is, and what it refers to (threats B-11 … B-13)."""

import pytest

from prestow.errors import InvalidError, UnsupportedError
from prestow.oci import mediatypes
from prestow.oci.index import Index
from prestow.oci.manifest import Manifest
from prestow.oci.walk import children, parse_document
from tests.oci import samples
from tests.oci.samples import descriptor, raw


@pytest.mark.parametrize("media_type", [None, mediatypes.OCI_MANIFEST])
def test_a_manifest_is_read_as_a_manifest(media_type: str | None) -> None:
    assert isinstance(parse_document(raw(samples.manifest()), media_type), Manifest)


@pytest.mark.parametrize("media_type", [None, mediatypes.OCI_INDEX])
def test_an_index_is_read_as_an_index(media_type: str | None) -> None:
    assert isinstance(parse_document(raw(samples.index()), media_type), Index)


def test_without_any_media_type_the_fields_tell() -> None:
    for sample, kind in ((samples.manifest, Manifest), (samples.index, Index)):
        document = sample()
        del document["mediaType"]
        assert isinstance(parse_document(raw(document), None), kind)


@pytest.mark.parametrize("media_type", [None, mediatypes.OCI_MANIFEST, mediatypes.OCI_INDEX, mediatypes.DOCKER_LIST])
@pytest.mark.parametrize("own", [None, mediatypes.OCI_MANIFEST, mediatypes.OCI_INDEX])
def test_a_document_of_both_kinds_is_invalid_whatever_it_is_called(media_type: str | None, own: str | None) -> None:
    both = {**samples.manifest(), **samples.index(), "mediaType": own}

    with pytest.raises(InvalidError):
        parse_document(raw(both), media_type)


@pytest.mark.parametrize("document", [b"{}", b'{"schemaVersion": 2}', b'{"mediaType": ""}', b'{"mediaType": 5}'])
def test_a_document_of_neither_kind_is_invalid(document: bytes) -> None:
    with pytest.raises(InvalidError, match="neither"):
        parse_document(document, None)


@pytest.mark.parametrize("media_type", ["text/html", mediatypes.OCI_CONFIG, mediatypes.OCI_LAYER, "x\n\x1b"])
def test_another_media_type_is_unsupported(media_type: str) -> None:
    with pytest.raises(UnsupportedError, match="neither an image manifest nor an image index") as raised:
        parse_document(b"<html>", media_type)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize("media_type", [None, *mediatypes.SCHEMA_1])
def test_schema_1_is_refused_by_name(media_type: str | None) -> None:
    with pytest.raises(UnsupportedError, match="schema 1 is not supported"):
        parse_document(b'{"schemaVersion": 1, "fsLayers": []}', media_type)


def test_the_children_of_a_manifest_are_its_config_and_then_its_layers() -> None:
    manifest = Manifest.parse(raw(samples.manifest()))

    assert children(manifest) == (manifest.config, *manifest.layers)


def test_the_children_of_an_index_are_its_manifests() -> None:
    index = Index.parse(raw(samples.index()))

    assert children(index) == index.manifests


def test_a_child_that_is_named_often_is_given_once_at_its_first_place() -> None:
    first, second = (descriptor(name, mediatypes.OCI_MANIFEST) for name in (b"first", b"second"))

    index = Index.parse(raw(samples.index(manifests=[first, second] * 3000)))

    assert [child.digest for child in children(index)] == [first["digest"], second["digest"]]
