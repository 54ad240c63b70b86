"""Descriptors: every field checked, nothing embedded trusted (threats B-03, B-09, B-16 … B-19)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import InvalidError, UnsupportedError
from prestow.oci.descriptor import Descriptor, parse_descriptor, parse_platform, platform_to_json
from prestow.platforms import Platform
from tests.oci import samples

HEX = "0123456789abcdef" * 4

words = st.from_regex(r"[a-z0-9][a-z0-9.]{0,5}", fullmatch=True)
platforms = st.builds(Platform, words, words, st.just("") | words, st.just("") | words, st.lists(words).map(tuple))
descriptors = st.builds(
    Descriptor,
    media_type=st.from_regex(r"[a-z]{1,5}/[a-z.+]{1,9}", fullmatch=True).filter(
        lambda text: text[text.find("/") + 1].isalnum()
    ),
    digest=st.binary(max_size=4).flatmap(lambda data: st.sampled_from([Digest.of(data), Digest.of(data, "sha512")])),
    size=st.integers(0, 2**63 - 1),
    platform=st.none() | platforms,
    annotations=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)


@given(descriptors)
def test_parsing_what_was_written_gives_the_same_descriptor(descriptor: Descriptor) -> None:
    assert parse_descriptor(descriptor.to_json(), "x") == descriptor


@given(platforms)
def test_parsing_what_was_written_gives_the_same_platform(platform: Platform) -> None:
    assert parse_platform(platform_to_json(platform), "x") == platform


@pytest.mark.parametrize("value", [None, [], "x", 5, True, {}, {"mediaType": "a/b"}])
def test_what_is_no_complete_object_is_invalid(value: object) -> None:
    with pytest.raises(InvalidError, match=r"^layer 3"):
        parse_descriptor(value, "layer 3")


@pytest.mark.parametrize("field", ["mediaType", "digest", "size"])
@pytest.mark.parametrize("value", [None, True, [], {}, "", 1.0])
def test_a_required_field_has_its_type(field: str, value: object) -> None:
    with pytest.raises(InvalidError, match=rf"^layer: {field}"):
        parse_descriptor(samples.descriptor(**{field: value}), "layer")


@pytest.mark.parametrize("field", ["mediaType", "digest", "size"])
def test_a_required_field_is_there(field: str) -> None:
    value = samples.descriptor()
    del value[field]

    with pytest.raises(InvalidError, match=rf"^layer: {field} is missing"):
        parse_descriptor(value, "layer")


@pytest.mark.parametrize("size", [-1, 2**63, 1.0, True, "5", None])
def test_a_size_is_an_integer_that_a_file_can_have(size: object) -> None:
    with pytest.raises(InvalidError, match=r"^layer: size"):
        parse_descriptor(samples.descriptor(size=size), "layer")


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../x", "sha256:%2e%2e/%2e%2e/x", f"sha256:{HEX.upper()}", f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0", f"sha256:{HEX}\n", f"SHA256:{HEX}", "../../etc/passwd", "", "sha256", "/sha256:x",
    ],
)  # fmt: skip
def test_a_digest_that_could_leave_its_place_in_a_path_or_url_is_invalid(digest: str) -> None:
    with pytest.raises(InvalidError, match=r"^layer: digest"):
        parse_descriptor(samples.descriptor(digest=digest), "layer")


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha384", "blake3"])
def test_a_digest_of_another_algorithm_is_unsupported(algorithm: str) -> None:
    with pytest.raises(UnsupportedError, match=r"^layer: digest.*unsupported algorithm"):
        parse_descriptor(samples.descriptor(digest=f"{algorithm}:{HEX}"), "layer")


@pytest.mark.parametrize(
    "media_type", ["x", "/x", "x/", "a/b/c", "a /b", "a/b\n", "a/b; charset=utf-8", "é/b", "a/" + "b" * 128]
)
def test_a_media_type_has_type_and_subtype(media_type: str) -> None:
    with pytest.raises(InvalidError, match=r"^layer: mediaType"):
        parse_descriptor(samples.descriptor(media_type=media_type), "layer")


@pytest.mark.parametrize(
    "extra",
    [
        {"data": "bm90IHRoaXM="},
        {"data": 5},
        {"data": "A" * (50 << 20)},
        {"urls": None},
        {"artifactType": "a/b"},
        {"future": [1]},
        {"annotations": None},
        {"platform": None},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_embedded_data_is_not_even_read(extra: dict[str, Any]) -> None:
    assert parse_descriptor(samples.descriptor(**extra), "layer") == parse_descriptor(samples.descriptor(), "layer")


def test_other_places_are_texts_that_nobody_has_checked_yet() -> None:
    urls = ["http://attacker.example/layer", "no url"]
    found = parse_descriptor(samples.descriptor(urls=urls), "layer")

    assert found.urls == tuple(urls)
    assert parse_descriptor(found.to_json(), "layer") == found
    for wrong in (1, "https://a.example/", [1], [None]):
        with pytest.raises(InvalidError, match="urls"):
            parse_descriptor(samples.descriptor(urls=wrong), "layer")


@pytest.mark.parametrize("name", ["Size", "DIGEST", "mediatype", "Platform"])
def test_a_second_spelling_of_a_field_is_invalid(name: str) -> None:
    with pytest.raises(InvalidError, match="misspelt"):
        parse_descriptor(samples.descriptor(**{name: 1}), "layer")


@pytest.mark.parametrize("annotations", [[], "x", {"a": 1}, {"a": None}])
def test_annotations_are_strings(annotations: object) -> None:
    with pytest.raises(InvalidError, match=r"^layer: annotations"):
        parse_descriptor(samples.descriptor(annotations=annotations), "layer")


@pytest.mark.parametrize(
    "platform",
    [
        [],
        "linux/amd64",
        {},
        {"os": "linux"},
        {"os": 1, "architecture": "amd64"},
        {"os": "linux", "architecture": "a/b"},
        {"os": "linux\n", "architecture": "amd64"},
        {"os": "linux", "architecture": "amd64", "variant": 7},
        {"os": "linux", "architecture": "amd64", "os.features": "x"},
        {"os": "linux", "architecture": "amd64", "OS": "windows"},
    ],
)
def test_a_platform_has_the_types_and_words_of_its_grammar(platform: object) -> None:
    with pytest.raises(InvalidError, match=r"^entry: platform"):
        parse_descriptor(samples.descriptor(platform=platform), "entry")


def test_an_empty_platform_is_that_of_no_image() -> None:
    parsed = parse_descriptor(samples.descriptor(platform={"os": "", "architecture": ""}), "entry")

    assert parsed.platform == Platform("unknown", "unknown")


def test_descriptors_with_annotations_can_be_members_of_sets() -> None:
    one, two = (parse_descriptor(samples.descriptor(annotations=a), "x") for a in ({"a": "1"}, {"a": "2"}))

    assert len({one, two}) == 2
