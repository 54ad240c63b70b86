"""The codec is closed: values come back as they were, and no document decides what it is read as."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.errors import InvalidError
from prestow.snapshots.damage import Damage, DamageKind, Subject
from tasks import values


class Part(NamedTuple):
    """Something small with foreign text in it."""

    digest: Digest
    size: int
    labels: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Whole:
    """One field of each kind."""

    name: str
    ratio: float
    done: bool
    where: Path
    kind: Literal["one", "two"]
    note: str | None
    parts: tuple[Part, ...]
    pair: tuple[str, int]
    nothing: None = None


digests = st.binary(max_size=8).map(Digest.of)
parts = st.builds(Part, digests, st.integers(), st.dictionaries(st.text(), st.text(), max_size=3))
wholes = st.builds(
    Whole,
    name=st.text(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    done=st.booleans(),
    where=st.text("abc/.", min_size=1).map(Path),
    kind=st.sampled_from(["one", "two"]),
    note=st.none() | st.text(),
    parts=st.lists(parts, max_size=3).map(tuple),
    pair=st.tuples(st.text(), st.integers()),
)
PART = Part(Digest.of(b"x"), 1, {"a": "b"})


@given(wholes)
@settings(deadline=None, max_examples=100)
def test_what_is_written_is_read_back_equal_and_of_the_same_types(whole: Whole) -> None:
    raw = values.dump(whole)
    read = values.load(Whole, raw)
    assert read == whole
    assert values.dump(read) == raw
    assert all(type(part.digest) is Digest for part in read.parts)


def test_the_text_is_plain_json_without_a_trace_of_classes() -> None:
    assert json.loads(values.dump(PART)) == {"digest": str(Digest.of(b"x")), "size": 1, "labels": {"a": "b"}}


@pytest.mark.parametrize(
    "labels",
    [
        {"__class__": "subprocess.check_output", "data": "id"},
        {"__class__": "pydantic.ImportString", "data": "antigravity"},
        {"__exc_type__": "builtins.SystemExit", "message": "0"},
        {"metadata": "x", "result": "y", "serializer": "pickle"},
    ],
)
def test_labels_that_name_a_class_stay_labels(labels: dict[str, str]) -> None:
    part = Part(Digest.of(b""), 0, labels)
    assert values.load(Part, values.dump(part)) == part


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"extra": 1}, "expected the fields digest, size, labels of Part"),
        ({"size": None}, "value.size: expected a whole number"),
        ({"size": True}, "value.size: expected a whole number"),
        ({"size": 1.5}, "value.size: expected a whole number"),
        ({"digest": "sha256:short"}, "value.digest: digest"),
        ({"digest": 5}, "value.digest: expected a digest"),
        ({"labels": []}, "value.labels: expected an object"),
        ({"labels": {"a\x1b": 1}}, r"value.labels\['a\\\\x1b'\]: expected a string"),
    ],
)
def test_a_document_that_does_not_fit_is_refused_by_the_place(change: dict[str, object], complaint: str) -> None:
    plain = {"digest": str(Digest.of(b"")), "size": 1, "labels": {}} | change
    with pytest.raises(InvalidError, match=complaint):
        values.from_json(Part, plain)


def test_a_missing_field_is_refused_even_where_the_class_has_a_default() -> None:
    with pytest.raises(InvalidError, match="expected the fields"):
        values.from_json(Part, {"digest": str(Digest.of(b"")), "size": 1})


def test_a_damage_is_read_as_what_it_was() -> None:
    damage = Damage(DamageKind.SNAPSHOT, Subject.snapshot("erofs", "sha256:x"), "missing")

    read = values.load(Damage, values.dump(damage))

    assert (read, type(read.kind), type(read.name)) == (damage, DamageKind, Subject)
    assert values.dump(damage) == b'{"kind":"snapshot","name":"erofs sha256:x","what":"missing"}'


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} 2'])
def test_text_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidError, match="value"):
        values.load(Part, raw)


@pytest.mark.parametrize(
    ("expected", "plain"),
    [
        (tuple[int, ...], {"0": 1}),
        (tuple[int, str], [1]),
        (tuple[int, str], [1, 2]),
        (Literal["a", "b"], "c"),
        (DamageKind, "rust"),
        (DamageKind, 1),
        (Subject, 1),
        (bool, 1),
        (type(None), 0),
        (float, "1"),
        (Path, 1),
        (Whole, []),
    ],
)
def test_each_kind_of_type_refuses_what_is_of_another_kind(expected: type[object], plain: object) -> None:
    with pytest.raises(InvalidError):
        values.from_json(expected, plain)


def test_a_whole_number_is_read_as_a_number_where_a_float_is_expected() -> None:
    read = values.from_json(float, 3)
    assert (read, type(read)) == (3.0, float)


@pytest.mark.parametrize("expected", [object, list[int], dict[str, int], bytes, int | str, set[int], Mapping[int, str]])
def test_a_type_outside_the_codec_fails_when_it_is_declared(expected: object) -> None:
    with pytest.raises(TypeError, match="no form in plain JSON"):
        values.check(expected)


@pytest.mark.parametrize("value", [b"bytes", {1: "x"}, {1, 2}, object(), [1]])
def test_a_value_outside_the_codec_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="no form in plain JSON"):
        values.dump(value)


def test_not_a_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        values.dump(float("nan"))
