"""Verb ``verify``: look for damage in what is stored, and repair it."""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.cli.arguments import Parser, Verbs, add_verb, source
from flows.cli.output import emit, say, size, table
from prestow.errors import InvalidError, MismatchError

if TYPE_CHECKING:
    from prestow.fsck.repair import Repaired
    from prestow.fsck.run import Examined

_SECONDS = 5.0  # between two lines about a long one


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "verify", run,
        help="hash and compare everything that is stored of an image, name what is damaged, and repair it",
        example="prestow verify alpine:3.20\nprestow verify --all --repair\nprestow verify --all --json",
    )  # fmt: skip
    verb.add_argument("name", metavar="NAME", nargs="?", type=source, help="as `prestow images` shows it")
    verb.add_argument(
        "--all", action="store_true", help="every image of all namespaces, and whether names, rows and the disk agree"
    )
    verb.add_argument(
        "--repair", action="store_true",
        help="move what is damaged to quarantine, and make or fetch it again; names stay, nothing else is fetched",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Verify one image or all; the exit status is that of a mismatch if something is damaged in the end."""
    from prestow.fsck.run import examine
    from prestow.store.node import open_node

    if (args.name is None) != args.all:
        raise InvalidError("verify: expected the name of an image, or --all; see `prestow verify --help`")
    node = open_node(args.home, args.namespace)
    examined = examine(node, args.name, mend=args.repair, progress=_progress)
    document = {
        "images": [_entry(each) for each in examined.images],
        "store": _entry(examined.store) if examined.store else None,
        "damaged": examined.damaged,
        "orphaned": [asdict(orphan) for orphan in examined.orphaned],
    }
    emit(document, _page(examined), as_json=args.json)
    return MismatchError.exit_code if examined.damaged else 0


def _entry(each: "Repaired") -> dict[str, Any]:
    """Return one name's part of the document."""
    repaired = asdict(each)
    return {**repaired.pop("found"), **repaired}


def _progress(name: str) -> Callable[[int], None]:
    """Return what tells now and then how far a long verification is."""
    read, told = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal read, told
        read += count
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            say(f"verify {name or 'the store'}: {size(read)}")

    return progress


def _page(examined: "Examined") -> str:
    each = examined.every
    lines = [(e.found.shown, e.found.blobs, e.found.snapshots, size(e.found.bytes), _result(e)) for e in each]
    parts = [table(("IMAGE", "BLOBS", "SNAPSHOTS", "READ", "RESULT"), lines)]
    if damages := [row for e in each for row in _damages(e)]:
        parts.append(table(("IMAGE", "KIND", "DAMAGED", "WHAT", "BECAME"), damages))
    containers = [(c.namespace, c.id, c.what) for e in each for c in e.containers]
    if containers := [*containers, *((c.namespace, c.id, c.what) for c in examined.orphaned)]:
        parts.append(table(("NAMESPACE", "CONTAINER", "WHAT"), containers))
    return "\n\n".join(parts)


def _result(each: "Repaired") -> str:
    if each.left:
        return f"{len(each.left)} damaged"
    return f"{len(each.mended)} repaired" if each.mended else "all well"


def _damages(each: "Repaired") -> Iterator[tuple[str, ...]]:
    """Yield what was repaired, or could not be, and then what nobody tried to."""
    for mended in each.mended:
        became = mended.how or f"still damaged: {mended.why_not}"
        yield each.found.shown, mended.kind, mended.name, mended.what, became
    tried = {mended.name for mended in each.mended}
    for damage in each.left:
        if damage.name not in tried:
            yield each.found.shown, damage.kind, damage.name, damage.what, "still damaged"
