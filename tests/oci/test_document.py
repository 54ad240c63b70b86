"""Strict JSON: one reading for everyone, or none (threats B-04, B-06 … B-09)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import ExhaustedError, InvalidError
from prestow.oci.document import MAX_DOCUMENT, Record, load
from tests.oci import samples

KNOWN = frozenset({"layers", "size", "mediaType"})


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"[]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b"1", id="number"),
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"a":1}{}', id="two objects"),
        pytest.param(b'{"a":1} x', id="trailing text"),
        pytest.param(b'{"a":1}\0', id="trailing NUL"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":1}//', id="comment"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="infinity"),
        pytest.param(b'{"a":-Infinity}', id="minus infinity"),
        pytest.param(b'{"a":1e999}', id="float out of range"),
        pytest.param(b'{"a":-1e999}', id="negative float out of range"),
        pytest.param(b'{"a":' + b"9" * 21 + b"}", id="21 digits"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="5000 digits"),
        pytest.param(b'{"a":1e' + b"9" * 5000 + b"}", id="5000 digits of exponent"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        pytest.param("{}".encode("utf-16-le"), id="UTF-16 without mark"),
        pytest.param("{}".encode("utf-32"), id="UTF-32"),
        pytest.param(b'{"a":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', id="overlong"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="encoded surrogate"),
        pytest.param(b'{"a":"\\ud800"}', id="lone high surrogate"),
        pytest.param(b'{"a":"\\uDC00x"}', id="lone low surrogate"),
        pytest.param(b'{"\\ud800":1}', id="lone surrogate in a name"),
        pytest.param(b'{"a":"\\udc00\\ud800"}', id="surrogates swapped"),
        pytest.param(b'{"a":"line\nbreak"}', id="raw control character"),
        pytest.param(b'{"a":1,"a":1}', id="name twice"),
        pytest.param(b'{"a":{"b":[{"c":1,"c":2}]}}', id="name twice inside"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="name twice, once escaped"),
        pytest.param(b"[" * 100_000, id="deep array"),
        pytest.param(b'{"a":' * 100_000, id="deep object"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep and closed"),
    ],
)
def test_what_two_readers_could_read_differently_is_invalid(raw: bytes) -> None:
    with pytest.raises(InvalidError, match=r"^manifest: ") as raised:
        load(raw, "manifest")

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_a_document_at_the_limit_is_read_and_one_byte_more_is_refused() -> None:
    body = b'{"a":1}'

    assert load(body.ljust(MAX_DOCUMENT), "config") == {"a": 1}
    with pytest.raises(ExhaustedError, match="config: 4194305 bytes; documents are limited to 4194304 bytes"):
        load(body.ljust(MAX_DOCUMENT + 1), "config")


def test_names_and_values_of_all_planes_are_read() -> None:
    assert load(b'{"\xc3\xa9":"\\ud83d\\ude00","\\u00e8":-9223372036854775808,"f":1.5}', "x") == {
        "é": "😀",
        "è": -9223372036854775808,
        "f": 1.5,
    }


@given(st.dictionaries(st.text(max_size=5), samples.json_values(2**64 - 1), max_size=4))
def test_reading_what_was_written_gives_the_same_object(value: dict[str, object]) -> None:
    assert load(json.dumps(value).encode(), "x") == value
    assert load(json.dumps(value, ensure_ascii=False).encode(), "x") == value


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layerS", "\u017fize", "mediatype", "MediaType"])
def test_a_known_name_in_another_spelling_is_invalid(name: str) -> None:
    for value in ({name: []}, {name: [], "layers": [], "size": 1}):
        with pytest.raises(InvalidError, match=r"is a misspelt '(layers|size|mediaType)'"):
            Record.of(value, "manifest", KNOWN)


def test_unknown_names_are_left_alone() -> None:
    record = Record.of({"layers": [1], "new": 1, "New": 2}, "manifest", KNOWN)

    assert record.items("layers") == [1]


@pytest.mark.parametrize("value", [None, [], "x", 1, True, 1.5])
def test_a_record_is_an_object(value: object) -> None:
    with pytest.raises(InvalidError, match="manifest: expected an object, found"):
        Record.of(value, "manifest", KNOWN)


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, True, False, "5", None, [], {}])
def test_a_size_is_an_integer_of_63_bits(value: object) -> None:
    with pytest.raises(InvalidError, match=r"^layer: size"):
        Record({"size": value}, "layer").whole("size")


@pytest.mark.parametrize("value", [0, 1, 2**63 - 1])
def test_a_size_of_63_bits_is_read(value: int) -> None:
    assert Record({"size": value}, "layer").whole("size") == value


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("text", [None, 1, [], {}, False]),
        ("items", [None, 1, "x", {}, False]),
        ("texts", [1, "x", {}, [1], [None], ["a", []]]),
        ("names", [1, "x", ["a"], False]),
        ("text_map", [1, "x", ["a"], {"a": 1}, {"a": None}]),
    ],
)
def test_a_field_of_another_type_is_invalid_and_named(method: str, wrong: list[object]) -> None:
    for value in wrong:
        with pytest.raises(InvalidError, match=r"^config: Field"):
            getattr(Record({"Field": value}, "config"), method)("Field")


def test_null_is_absent_where_a_field_is_optional() -> None:
    record = Record({"a": None}, "config")

    for name in ("a", "b"):
        assert record.text(name, "") == ""
        assert record.texts(name) == ()
        assert record.names(name) == ()
        assert record.text_map(name) == {}
    assert record.has("a")
    assert not record.has("b")
