"""Verb ``verify``: look for damage in what is stored."""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb, source
from flows.cli.output import emit, say, size, table
from prestow.errors import InvalidError, MismatchError

if TYPE_CHECKING:
    from prestow.verify import Verification

_SECONDS = 5.0  # between two lines about a long one


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "verify", run,
        help="hash and compare everything that is stored of an image, and name what is damaged",
        example="prestow verify alpine:3.20\nprestow verify --all --json",
    )  # fmt: skip
    verb.add_argument("name", metavar="NAME", nargs="?", type=source, help="as `prestow images` shows it")
    verb.add_argument("--all", action="store_true", help="verify every image of this store")


def run(args: argparse.Namespace) -> int:
    """Verify one image or all; the exit status is that of a mismatch if something is damaged."""
    from prestow.node import open_node  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.verify import verify  # noqa: PLC0415 - likewise

    if (args.name is None) != args.all:
        raise InvalidError("verify: expected the name of an image, or --all; see `prestow verify --help`")
    node = open_node(args.home, args.namespace)
    records = node.images.list() if args.all else (node.image(args.name),)
    found = [verify(node, record, progress=_progress(record.name)) for record in records]
    damaged = sum(len(each.damaged) for each in found)
    emit({"images": [dataclasses.asdict(each) for each in found], "damaged": damaged}, _page(found), as_json=args.json)
    return MismatchError.exit_code if damaged else 0


def _progress(name: str) -> Callable[[int], None]:
    """Give what tells now and then how far a long verification is."""
    read, told = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal read, told
        read += count
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            say(f"verify {name}: {size(read)}")

    return progress


def _page(found: "list[Verification]") -> str:
    lines = [
        (v.name, v.blobs, v.snapshots, size(v.bytes), f"{len(v.damaged)} damaged" if v.damaged else "all well")
        for v in found
    ]
    damages = [(v.name, d.kind, d.name, d.what) for v in found for d in v.damaged]
    parts = [table(("IMAGE", "BLOBS", "SNAPSHOTS", "READ", "RESULT"), lines)]
    if damages:
        parts.append(table(("IMAGE", "KIND", "DAMAGED", "WHAT"), damages))
    return "\n\n".join(parts)
