"""The law of all documents: whatever stands wherever in one, it is read, or refused by one of our errors."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PrestowError
from prestow.oci.descriptor import Descriptor, parse_descriptor
from prestow.oci.image import assemble
from prestow.oci.image_config import ImageConfig
from prestow.oci.index import Index
from prestow.oci.manifest import Manifest
from prestow.oci.walk import children, parse_document
from prestow.platforms import Platform
from tests.oci import samples

TARGET = Descriptor(media_type="a/b", digest=Manifest.parse(samples.raw(samples.manifest())).digest, size=1)
MANY = settings(max_examples=100, deadline=None)


def refusal(read: Callable[[], object]) -> PrestowError | None:
    try:
        read()
    except PrestowError as error:
        return error
    return None


@MANY
@given(samples.mutations(samples.manifest))
def test_a_mutated_manifest_is_read_or_refused(document: Any) -> None:
    try:
        manifest = Manifest.parse(samples.raw(document))
        assemble(TARGET, manifest, ImageConfig.parse(samples.raw(samples.config())))
    except PrestowError:
        return

    assert len(manifest.layers) == 2
    assert children(manifest)


@MANY
@given(samples.mutations(samples.index))
def test_a_mutated_index_is_read_or_refused(document: Any) -> None:
    try:
        index = Index.parse(samples.raw(document))
        chosen = index.select(Platform("linux", "amd64"))
    except PrestowError:
        return

    assert chosen in index.manifests


@MANY
@given(samples.mutations(samples.config))
def test_a_mutated_config_is_read_or_refused(document: Any) -> None:
    try:
        config = ImageConfig.parse(samples.raw(document))
        assemble(TARGET, Manifest.parse(samples.raw(samples.manifest())), config)
    except PrestowError:
        return

    assert len(config.diff_ids) == 2
    assert all(isinstance(text, str) for text in (*config.process.env, *config.process.cmd, config.created))


@MANY
@given(samples.json_values())
def test_random_json_is_refused_as_a_descriptor(value: object) -> None:
    assert refusal(lambda: parse_descriptor(value, "any")) is not None


@MANY
@given(st.one_of(st.binary(max_size=60), samples.json_values().map(samples.raw)), st.none() | st.text(max_size=20))
def test_any_bytes_are_refused_as_a_document(raw: bytes, media_type: str | None) -> None:
    for refused in (refusal(lambda: parse_document(raw, media_type)), refusal(lambda: ImageConfig.parse(raw))):
        assert refused is not None
        assert str(refused).isprintable()
