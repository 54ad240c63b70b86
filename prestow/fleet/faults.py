"""What is wrong with a document, a line for each fault: where, which key, what is expected, what stands there.

    fleet.yaml:4:7: hosts[0].labels.role: expected a text, found 7

Pydantic names positions by keys and by its own names for choices; here they become the lines and columns of the YAML,
and its sentences become ours. The faults of all choices at one place are one fault.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from prestow.errors import printable

_SHOWN = 80
_SIMPLE = {
    "string_type": "a text", "int_type": "a whole number", "int_parsing": "a whole number",
    "int_from_float": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "finite_number": "a number", "bool_type": "true or false", "bool_parsing": "true or false",
    "dict_type": "a mapping", "mapping_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "tuple_type": "a list", "list_type": "a list",
    "string_too_short": "a text that is not empty",
}  # fmt: skip
_BOUNDS = {
    "greater_than": "more than {gt:g}", "greater_than_equal": "at least {ge:g}", "less_than_equal": "at most {le:g}",
    "string_too_long": "at most {max_length} characters", "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
}  # fmt: skip
_KEY = "[key]"  # pydantic's: the fault is the key's

Key = str | int


@dataclass(frozen=True, slots=True)
class _Fault:
    """One fault at one place.

    Attributes:
        keys: they lead to it.
        mark: where it is.
        where: the place, and the keys, as a person reads them.
        expected: what is expected there; empty if ``said`` is a sentence of its own.
        said: what stands there instead, or the sentence.
    """

    keys: tuple[Key, ...]
    mark: yaml.Mark | None
    where: str
    expected: str
    said: str


def describe(error: ValidationError, model: type[BaseModel], root: yaml.Node | None, name: str) -> list[str]:
    """Return the faults of a document, in its order; ``name`` is that of the file."""
    faults = [_fault(name, root, each, model) for each in error.errors(include_url=False)]
    # What is wrong with a part is not said of the whole again: that it has too few parts, or is of no other choice.
    wholes = {fault.keys[:depth] for fault in faults for depth in range(len(fault.keys))}
    places: dict[str, list[_Fault]] = {}
    for fault in sorted(faults, key=lambda fault: fault.mark.index if fault.mark else -1):
        if fault.keys not in wholes:
            places.setdefault(fault.where, []).append(fault)
    return [_line(where, each) for where, each in places.items()]


def place(name: str, mark: yaml.Mark | None) -> str:
    """Return a file's name with the line and column of a mark."""
    return name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"


def _line(where: str, faults: Sequence[_Fault]) -> str:
    expected = list(dict.fromkeys(fault.expected for fault in faults if fault.expected))
    if not expected:
        return f"{where}{faults[0].said}"
    return f"{where}expected {' or '.join(expected)}{faults[0].said}"


def _fault(name: str, root: yaml.Node | None, error: Mapping[str, Any], model: type[BaseModel]) -> _Fault:
    keys, mark = _found(root, error["loc"], missing=error["type"] == "missing")
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
    where = f"{place(name, mark)}: {printable(path) + ': ' if path else ''}"
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _Fault(keys, mark, where, "", f"there is no such key{_advice(model, error['loc'])}")
    if kind == "missing":
        return _Fault(keys, mark, where, "", "this key is missing; add it")
    if kind in _SIMPLE:
        expected = _SIMPLE[kind]
        if kind == "string_type" and isinstance(found, int | float | date):
            return _Fault(keys, mark, where, expected, f"{_shown(found)}; put it in quotes")
    elif kind in _BOUNDS:
        expected = _BOUNDS[kind].format(**context).replace("True", "true")
    elif kind == "too_short":
        expected = "at least one entry"
    else:
        text = error["msg"].removeprefix("Value error, ")
        expected = text.removeprefix("expected ") if text.startswith("expected ") else ""
        if not expected:
            return _Fault(keys, mark, where, "", text)
    return _Fault(
        keys, mark, where, expected, "" if isinstance(found, Mapping | list | tuple) and found else _shown(found)
    )


def _shown(found: object) -> str:
    if found is None:
        return ", found nothing"
    text = str(found).lower() if isinstance(found, bool) else str(found) if isinstance(found, date) else repr(found)
    return f", found {printable(text, _SHOWN)}"


def _advice(model: type[BaseModel], location: Sequence[Key]) -> str:
    """Return which key may be meant, or which keys there are."""
    candidates = [model]
    for part in location[:-1]:
        fields = [each.model_fields[part].annotation for each in candidates if part in each.model_fields]
        named = [each for each in candidates if each.__name__ == part]
        candidates = named or ([found for field in fields for found in _models(field)] if fields else candidates)
    keys = [key for each in candidates for key in each.model_fields]
    if close := get_close_matches(str(location[-1]), keys, 1):
        return f"; did you mean {close[0]}?"
    return f"; keys here: {', '.join(keys)}" if keys else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _found(
    root: yaml.Node | None, location: Sequence[Key], *, missing: bool
) -> tuple[tuple[Key, ...], yaml.Mark | None]:
    """Return the keys that lead to a fault, and where it is, as near as the document has it."""
    keys: tuple[Key, ...] = ()
    node, mark = root, None if root is None else root.start_mark
    key_mark = mark
    for at, key in enumerate(location):
        if key == _KEY:
            return keys, key_mark
        child = _child(node, key)
        if child is None and not (missing and at == len(location) - 1):
            continue  # pydantic's name for a choice among types
        keys = (*keys, key)
        if child is not None:
            node, mark, key_mark = child
    return keys, mark


def _child(node: yaml.Node | None, key: Key) -> tuple[yaml.Node, yaml.Mark, yaml.Mark] | None:
    """Return the value of a key, where it begins, or its key if it spans lines, and where the key does."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == str(key):
                own = isinstance(value, yaml.ScalarNode) and value.value
                return value, value.start_mark if own else name.start_mark, name.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark, node.value[key].start_mark
    return None
