"""Indexes: what is one, and which of its images suits a machine (threats B-11, B-13 … B-15)."""

from typing import Any

import pytest

from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, UnsupportedError
from prestow.oci import mediatypes
from prestow.oci.index import MAX_MANIFESTS, Index
from prestow.platforms import Platform
from tests.oci import samples
from tests.oci.samples import descriptor, raw

AMD64 = Platform("linux", "amd64")


def parse(media_type: str | None = None, **changes: object) -> Index:
    return Index.parse(raw(samples.index(**changes)), media_type)


def entry(name: str, platform: str | None, media_type: str = mediatypes.OCI_MANIFEST) -> dict[str, Any]:
    more = {}
    if platform is not None:
        os, architecture, *variant = platform.split("/")
        more = {"platform": {"os": os, "architecture": architecture, "variant": "".join(variant)}}
    return descriptor(name.encode(), media_type, **more)


def test_an_index_is_read_and_keeps_its_bytes() -> None:
    document = raw(samples.index(annotations={"a": "b"}))

    index = Index.parse(document, mediatypes.OCI_INDEX)

    assert index.raw == document
    assert index.digest == Digest.of(document)
    assert [str(m.platform) for m in index.manifests] == ["linux/amd64", "linux/arm64", "unknown/unknown"]
    assert index.annotations == {"a": "b"}


def test_a_docker_list_is_read() -> None:
    assert parse(mediaType=mediatypes.DOCKER_LIST).media_type == mediatypes.DOCKER_LIST


def test_the_index_of_a_layout_needs_no_media_type() -> None:
    assert parse(mediaType=None).media_type == mediatypes.OCI_INDEX


@pytest.mark.parametrize("field", ["config", "layers"])
@pytest.mark.parametrize("value", [None, [], {}, "x"])
def test_an_index_that_could_pass_for_a_manifest_is_invalid(field: str, value: object) -> None:
    with pytest.raises(InvalidError, match="could be read as another kind"):
        parse(**{field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"manifests": None}, {"manifests": {}}, {"manifests": [None]}, {"manifests": [[]]}, {"manifests": ["x"]},
        {"mediaType": mediatypes.OCI_MANIFEST}, {"mediaType": "text/html"}, {"schemaVersion": 0},
        {"schemaVersion": None}, {"Manifests": []}, {"Layers": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_field_of_the_wrong_shape_is_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"^index sha256:[0-9a-f]{12}"):
        parse(**change)


def test_schema_1_layers_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="schema 1"):
        parse(fsLayers=[])


def test_one_digest_with_two_sizes_is_invalid() -> None:
    with pytest.raises(InvalidError, match="in one place"):
        parse(manifests=[entry("a", None), {**entry("a", None), "size": 9}])


def test_too_many_entries_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(ExhaustedError, match="limited to 10000 entries"):
        parse(manifests=[None] * (MAX_MANIFESTS + 1))


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("linux/amd64", "a64"),
        ("linux/x86_64", "a64"),
        ("linux/arm64/v8", "arm64"),
        ("linux/arm/v7", "v7"),
        ("linux/arm/v6", "v6"),
    ],
)
def test_the_entry_that_suits_best_is_selected(wanted: str, chosen: str) -> None:
    index = parse(
        manifests=[
            entry("386", "linux/386"),
            entry("a64", "linux/amd64"),
            entry("v6", "linux/arm/v6"),
            entry("v7", "linux/arm"),
            entry("arm64", "linux/aarch64"),
            entry("again", "linux/amd64"),
        ]
    )

    assert index.select(Platform.parse(wanted)).digest == Digest.of(chosen.encode())


def test_an_entry_without_a_platform_is_selected_last() -> None:
    nameless, exact = entry("nameless", None), entry("exact", "linux/amd64")

    assert parse(manifests=[nameless, exact]).select(AMD64).digest == exact["digest"]
    assert parse(manifests=[nameless]).select(AMD64).digest == nameless["digest"]


def test_an_index_within_an_index_can_be_selected() -> None:
    inner = entry("inner", None, mediatypes.OCI_INDEX)

    assert parse(manifests=[inner]).select(AMD64).media_type == mediatypes.OCI_INDEX


def test_what_is_no_image_is_never_selected() -> None:
    artefact = entry("chart", None, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    attestation = entry("attestation", "unknown/unknown")

    with pytest.raises(NotFoundError, match="it has none at all"):
        parse(manifests=[artefact, attestation]).select(AMD64)
    with pytest.raises(NotFoundError, match="it has none at all"):
        parse(manifests=[]).select(AMD64)


def test_a_platform_that_is_missing_is_answered_with_those_that_exist() -> None:
    with pytest.raises(NotFoundError, match=r"has no image for linux/riscv64; it has linux/amd64, linux/arm64$"):
        parse().select(Platform("linux", "riscv64"))


def test_the_list_of_what_exists_stays_short() -> None:
    index = parse(manifests=[entry(str(n), f"linux/cpu{n}") for n in range(100)])

    with pytest.raises(NotFoundError, match=r", …$"):
        index.select(AMD64)
