"""Reading YAML into a checked value: every fault is named with its line, its column and what is expected there.

>>> class Hello(Document):
...     to: str
>>> parse("to: 7", Hello, "hello.yaml")
Traceback (most recent call last):
    ...
prestow.errors.InvalidError: hello.yaml:1:5: to: expected a text, found 7
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from prestow.errors import InvalidError, NotFoundError, printable
from prestow.fleet.faults import describe, place

MOST_BYTES = 16 << 20
"""Size of a document beyond which it is refused."""

_TOLD = 10  # faults in one error

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Matches:
    """Annotation of a text that must match a regular expression, with the words for it in errors.

    Raises:
        ValueError: while validating: it does not match.
    """

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text after its type."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe it."""
        return handler(schema) | {"pattern": self.pattern}

    def _checked(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"expected {self.expected}")
        return text


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
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            _check_keys(root, name)
            value = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise InvalidError(f"{place(name, error.problem_mark)}: {error.problem or 'not YAML'}") from error
    except yaml.reader.ReaderError as error:
        raise InvalidError(f"{name}: not YAML: {error.reason} (at position {error.position})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidError(f"{name}: not YAML: {printable(str(error))}") from error
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        faults = describe(error, model, root, name)
        rest = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
        raise InvalidError("\n".join([*faults[:_TOLD], *rest])) from error


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a foreign document, without what it has there."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return printable(": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"]))))


def _check_keys(root: yaml.Node | None, name: str) -> None:
    """Refuse a key that stands twice, of which YAML would forget the first."""
    for mapping in _mappings(root, set()):
        seen: set[Hashable] = set()
        for key, _ in mapping.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise InvalidError(f"{place(name, key.start_mark)}: {printable(key.value)} stands here twice")
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
