"""Sub-verb ``fleet schema``: the JSON schema of fleet files."""

import argparse
import json

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    add_verb(
        parts, common, "schema", show,
        help="print the JSON schema of fleet files, for editors and checks",
        example="prestow fleet schema",
    )  # fmt: skip


def show(args: argparse.Namespace) -> int:
    """Print it."""
    from prestow.fleet.schema import schema

    found = schema()
    emit(found, json.dumps(found, indent=2), args)
    return 0
