"""Reading YAML into a checked value: every fault is named with its line, its column and what is expected there.

>>> class Hello(Document):
...     to: str
>>> parse("to: 7", Hello, "hello.yaml")
Traceback (most recent call last):
    ...
prestow.errors.InvalidError: hello.yaml:1:5: to: expected a text, found 7
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from prestow.errors import InvalidError, NotFoundError, printable

MOST_BYTES = 16 << 20
"""Size of a document beyond which it is refused."""

_TOLD = 10  # faults in one error
_SHOWN = 80
_WORDS = {
    "string_type": "expected a text", "int_type": "expected a whole number", "int_parsing": "expected a whole number",
    "float_type": "expected a number", "bool_type": "expected true or false", "bool_parsing": "expected true or false",
    "dict_type": "expected a mapping", "mapping_type": "expected a mapping", "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping", "tuple_type": "expected a list", "list_type": "expected a list",
}  # fmt: skip

Key = str | int
T = TypeVar("T", bound=BaseModel)


class Document(BaseModel):
    """A part of a document; it does not change, and has no other keys than those declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def read(path: Path, model: type[T]) -> T:
    """Read a file.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it cannot be read, or breaks the rules of ``model``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InvalidError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(data, model, str(path))


def parse(text: str | bytes, model: type[T], name: str) -> T:
    """Read a text; ``name`` stands before each line number in errors.

    Raises:
        InvalidError: it is no YAML, or breaks the rules of ``model``.
    """
    if len(text) > MOST_BYTES:
        raise InvalidError(f"{name}: larger than {MOST_BYTES >> 20} MiB")
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        _check_keys(root, name)
        value = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise InvalidError(f"{_place(name, error.problem_mark)}: {error.problem or 'not YAML'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidError(f"{name}: not YAML: {printable(str(error))}") from error
    finally:
        loader.dispose()
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        faults = [_fault(name, root, each) for each in error.errors(include_url=False)]
        rest = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
        raise InvalidError("\n".join([*faults[:_TOLD], *rest])) from error


def _check_keys(root: yaml.Node | None, name: str) -> None:
    """Refuse a key that stands twice, of which YAML would forget the first."""
    for mapping in _mappings(root, set()):
        seen: set[Hashable] = set()
        for key, _ in mapping.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise InvalidError(f"{_place(name, key.start_mark)}: {printable(key.value)} stands here twice")
                seen.add(key.value)


def _mappings(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.MappingNode]:
    if node is None or id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value, seen)


def _fault(name: str, root: yaml.Node | None, error: Mapping[str, Any]) -> str:
    """Say what is wrong in one line."""
    mark, path = _found(root, error["loc"])
    kind, found = error["type"], error["input"]
    if kind == "extra_forbidden":
        said = "there is no such key"
    elif kind == "missing":
        said = "this key is missing"
    elif kind in _WORDS:
        said = f"{_WORDS[kind]}, found {printable(repr(found), _SHOWN)}"
    else:
        said = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        said = said if said[:1].islower() and "expected" in said else f"expected {said}" if "should" in kind else said
        if not isinstance(found, Mapping | list | tuple):
            said += f", found {printable(repr(found), _SHOWN)}"
    return f"{_place(name, mark)}: {path + ': ' if path else ''}{said}"


def _found(root: yaml.Node | None, location: Sequence[Key]) -> tuple[yaml.Mark | None, str]:
    """Return where a fault is, as near as the document has it, and the keys that lead there."""
    node, mark, path = root, None if root is None else root.start_mark, ""
    for key in location:
        child, at = _child(node, key)
        if child is None and not isinstance(node, yaml.MappingNode):
            continue  # pydantic's name for a choice among types
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else str(key)
        if child is None:
            continue
        node, mark = child, at
    return mark, printable(path)


def _child(node: yaml.Node | None, key: Key) -> tuple[yaml.Node | None, yaml.Mark | None]:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == str(key):
                return value, value.start_mark if isinstance(
                    value, yaml.ScalarNode
                ) and value.value else name.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark
    return None, None


def _place(name: str, mark: yaml.Mark | None) -> str:
    return name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
