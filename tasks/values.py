"""The codec between the engine's values and plain JSON: what Prefect may remember of a step.

    dataclass, NamedTuple ↔ object, field by field      Mapping[str, T] ↔ object      tuple[T, ...], tuple[A, B] ↔ array
    T | None ↔ T or null        Digest, Subject, Path, Literal, StrEnum, str ↔ string      int, float, bool ↔ themselves

It is closed: *the reader says what it expects, the data never says what it is*. No field of a document names a class,
a module or a serializer, so ``{"__class__": …}`` in an image's label is a label and stays one. What does not fit the
expected type to the last field is refused, for a record of another version must not be read as one of this.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, printable
from prestow.snapshots.damage import Subject

T = TypeVar("T")
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
_Reader = Callable[[object, str], Any]


def to_json(value: object) -> Plain:
    """Return a value as plain JSON.

    Raises:
        TypeError: a value of no known kind; an error in the program, not in its input.
    """
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if (names := _field_names(type(value))) is not None:
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {_name(name): to_json(item) for name, item in value.items()}
    raise TypeError(f"{type(value).__qualname__} has no form in plain JSON")


def from_json(expected: type[T], plain: object) -> T:
    """Read plain JSON as a value of the ``expected`` type.

    Raises:
        InvalidError: the document does not fit the type.
        TypeError: ``expected`` is, or holds, a type that this codec does not know.
    """
    value: T = _reader(cast("Hashable", expected))(plain, "value")
    return value


def dump(value: object) -> bytes:
    """Return a value as JSON text; equal values give equal bytes."""
    return json.dumps(to_json(value), allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()


def load(expected: type[T], raw: bytes) -> T:
    """Read JSON text as a value of the ``expected`` type.

    Raises:
        InvalidError: not JSON, or not of that type.
    """
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"value: not JSON: {printable(str(error))}") from error
    return from_json(expected, plain)


def check(expected: object) -> None:
    """Make sure that values of the ``expected`` type can be read, so that a step fails when it is declared, not later.

    Raises:
        TypeError: ``expected`` is, or holds, a type that this codec does not know.
    """
    _reader(expected)


@cache
def _reader(expected: Any) -> _Reader:
    """Return the function that reads the ``expected`` type from plain JSON and a text that says where it stands."""
    if expected in _LEAVES:
        return _LEAVES[expected]
    if isinstance(expected, type):
        return _class(expected)
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType) and len(args) == 2 and args[1] is type(None):  # noqa: PLR2004 - T and None
        return _optional(_reader(args[0]))
    if origin is tuple:
        return _array(_reader(args[0])) if args[1:] == (...,) else _row(tuple(map(_reader, args)))
    if origin is Mapping and args[0] is str:
        return _mapping(_reader(args[1]))
    if origin is Literal:
        return _literal(args)
    raise TypeError(f"{expected} has no form in plain JSON")


def _class(expected: type[Any]) -> _Reader:
    if (names := _field_names(expected)) is not None:
        return _object(expected, names)
    if issubclass(expected, StrEnum):
        read = _literal(tuple(expected))
        return lambda plain, at: expected(read(plain, at))
    raise TypeError(f"{expected} has no form in plain JSON")


def _field_names(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the names of the fields of a dataclass or NamedTuple; None for any other class."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", None) if issubclass(kind, tuple) else None


def _object(expected: type[Any], names: tuple[str, ...]) -> _Reader:
    """Read an object with exactly the class's fields."""
    hints = get_type_hints(expected)
    fields = {name: _reader(hints[name]) for name in names}

    def read(plain: object, at: str) -> object:
        if not isinstance(plain, dict):
            _refuse(plain, at, f"the fields of {expected.__name__}")
        if plain.keys() != fields.keys():
            raise InvalidError(
                f"{at}: expected the fields {', '.join(fields)} of {expected.__name__}, "
                f"found {printable(', '.join(map(str, plain)))}"
            )
        return expected(**{name: read_field(plain[name], f"{at}.{name}") for name, read_field in fields.items()})

    return read


def _optional(read: _Reader) -> _Reader:
    """Read null, or what ``read`` reads."""
    return lambda plain, at: None if plain is None else read(plain, at)


def _array(read: _Reader) -> _Reader:
    """Read an array of any length as a tuple."""
    return lambda plain, at: tuple(read(item, f"{at}[{i}]") for i, item in enumerate(_list(plain, at)))


def _row(reads: tuple[_Reader, ...]) -> _Reader:
    """Read an array of a fixed length as a tuple."""

    def read(plain: object, at: str) -> object:
        items = _list(plain, at)
        if len(items) != len(reads):
            raise InvalidError(f"{at}: expected {len(reads)} items, found {len(items)}")
        return tuple(read(item, f"{at}[{i}]") for i, (read, item) in enumerate(zip(reads, items, strict=True)))

    return read


def _mapping(read: _Reader) -> _Reader:
    """Read an object with any names; its names are data, whatever they say."""

    def read_all(plain: object, at: str) -> object:
        if not isinstance(plain, dict):
            _refuse(plain, at, "an object")
        return {name: read(item, f"{at}[{printable(name)!r}]") for name, item in plain.items()}

    return read_all


def _literal(words: tuple[object, ...]) -> _Reader:
    """Read one of some words."""

    def read(plain: object, at: str) -> object:
        if not isinstance(plain, str) or plain not in words:
            _refuse(plain, at, f"one of {words}")
        return plain

    return read


def _leaf(kinds: type | tuple[type, ...], what: str, make: Callable[[Any], object]) -> _Reader:
    """Read a scalar of the given JSON kinds; a boolean is no number."""

    def read(plain: object, at: str) -> object:
        if not isinstance(plain, kinds) or (isinstance(plain, bool) and kinds is not bool):
            _refuse(plain, at, what)
        try:
            return make(plain)
        except PrestowError as error:
            raise InvalidError(f"{at}: {error}") from error

    return read


_LEAVES: Mapping[object, _Reader] = {
    bool: _leaf(bool, "true or false", bool),
    int: _leaf(int, "a whole number", int),
    float: _leaf((int, float), "a number", float),
    str: _leaf(str, "a string", str),
    Digest: _leaf(str, "a digest", Digest.parse),
    Path: _leaf(str, "a path", Path),
    Subject: _leaf(str, "a string", Subject),
    type(None): _leaf(type(None), "null", lambda _: None),
    None: _leaf(type(None), "null", lambda _: None),
}


def _list(plain: object, at: str) -> list[object]:
    """Check for an array."""
    return plain if isinstance(plain, list) else _refuse(plain, at, "an array")


def _name(name: object) -> str:
    """Check that a mapping's key can be a name in an object."""
    if not isinstance(name, str):
        raise TypeError(f"a name of type {type(name).__qualname__} has no form in plain JSON")
    return str(name)


def _refuse(plain: object, at: str, expected: str) -> NoReturn:
    """Say what was expected and what was found."""
    raise InvalidError(f"{at}: expected {expected}, found {printable(repr(plain), 60)}")
