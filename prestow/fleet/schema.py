"""The JSON schema (draft 2020-12) of fleet files, for editors and other checks; the models know more rules than it."""

import re
from collections.abc import Iterator
from typing import Any

from prestow.fleet.file import FleetFile

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def schema() -> dict[str, Any]:
    """Return it, with the meaning of each key as its models' docstrings have it."""
    found = FleetFile.model_json_schema()
    for each in _objects(found):
        if "patternProperties" in each:
            each.setdefault("additionalProperties", False)
        # A default is left out where a file writes it in another way: seconds, shares, and parts of their own.
        if isinstance(each.get("default"), float | dict | list) and each.get("type") != "number":
            del each["default"]
    for each in (found, *found["$defs"].values()):
        each["description"], _, attributes = each.get("description", "").partition("\n\nAttributes:\n")
        for key, meaning in _ATTRIBUTE.findall(attributes):
            if key in each["properties"]:
                each["properties"][key]["description"] = " ".join(meaning.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(part)
