"""Verb ``fsck``: look for damage in what is stored, and repair it."""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.arguments import Parser, Verbs, add_credentials, add_verb, source
from flows.cli.output import emit, say, size
from flows.cli.tables import table
from prestow.errors import InvalidError, MismatchError

if TYPE_CHECKING:
    from prestow.fsck.repair import RepairResult
    from prestow.fsck.run import FsckResult
    from prestow.registry.credentials import Named
    from prestow.snapshots.damage import Damage

_SECONDS = 5.0  # between two lines about a long one


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "fsck", run,
        help="check everything that is stored of an image, list what is damaged, and repair it",
        example="prestow fsck alpine:3.20\nprestow fsck --all --repair\nprestow fsck --all --json",
        aliases=["verify"],
    )  # fmt: skip
    verb.add_argument(
        "name", metavar="NAME", nargs="?", type=source, help="name of an image, as `prestow images` lists it"
    )
    verb.add_argument(
        "--all",
        action="store_true",
        help="check the images of all namespaces, and that names, database and files agree",
    )
    verb.add_argument(
        "--repair", action="store_true",
        help="move what is damaged to quarantine, and rebuild it or fetch it again; names stay",
    )  # fmt: skip
    add_credentials(verb)


def run(args: argparse.Namespace) -> int:
    """Check one image or all; the exit status is that of a mismatch if something is still damaged at the end."""
    from prestow.fsck.run import fsck
    from prestow.store.node import open_node

    if (args.name is None) != args.all:
        raise InvalidError("fsck: expected the name of an image, or --all; see `prestow fsck --help`")
    if args.credentials and not args.repair:
        raise InvalidError("fsck: --credentials are for what --repair fetches; add --repair, or leave them out")
    node = open_node(args.home, args.namespace)
    if args.repair:
        node.sources.find_named = partial(_find_named, Path(args.home))
    result = fsck(
        node,
        args.name,
        repair=args.repair,
        progress=_silent if args.progress == "none" else _progress,
        credentials=args.credentials,
    )
    document = {
        "images": [_entry(each) for each in result.images],
        "store": _entry(result.store) if result.store else None,
        "damaged": result.damaged,
        "orphaned": [asdict(orphan) for orphan in result.orphaned],
    }
    emit(document, _page(result, args.width), args)
    return MismatchError.exit_code if result.damaged else 0


def _find_named(home: Path, name: str) -> "Named":
    """Read named credentials from the Prefect API, which nothing else of this verb needs."""
    from flows.connection import using_api

    with using_api(home, announce=say):
        from tasks.registry_credentials import find_named

        return find_named(name)


def _entry(each: "RepairResult") -> dict[str, Any]:
    """Return one name's part of the document."""
    fields = asdict(each)
    outcomes = [{**outcome.pop("damage"), **outcome} for outcome in fields.pop("mended")]
    return {**fields.pop("found"), "mended": outcomes, **fields}


def _progress(name: str) -> Callable[[int], None]:
    """Return a function that says every few seconds how far a long check is."""
    read, shown_at = 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal read, shown_at
        read += count
        if time.monotonic() - shown_at > _SECONDS:
            shown_at = time.monotonic()
            say(f"fsck {name or 'the store'}: {size(read)}")

    return progress


def _silent(_name: str) -> Callable[[int], None]:
    """Return a function that says nothing."""
    return lambda _count: None


def _page(result: "FsckResult", width: int | None) -> str:
    each = result.every
    lines = [(e.found.shown, e.found.blobs, e.found.snapshots, size(e.found.bytes), _result(e)) for e in each]
    parts = [
        table(("IMAGE", "BLOBS", "SNAPSHOTS", "READ", "RESULT"), lines, width, drop=("SNAPSHOTS", "BLOBS", "READ"))
    ]
    if damages := [row for e in each for row in _damages(e)]:
        parts.append(
            table(("IMAGE", "KIND", "DAMAGED", "WHAT", "BECAME"), damages, width, drop=("KIND", "IMAGE", "WHAT"))
        )
    containers = [(c.namespace, c.id, c.what) for e in each for c in e.containers]
    if containers := [*containers, *((c.namespace, c.id, c.what) for c in result.orphaned)]:
        parts.append(table(("NAMESPACE", "CONTAINER", "WHAT"), containers, width))
    return "\n\n".join(parts)


def _result(each: "RepairResult") -> str:
    if each.left:
        return f"{len(each.left)} damaged"
    return f"{len(each.mended)} repaired" if each.mended else "all well"


def _damages(each: "RepairResult") -> Iterator[tuple[str, ...]]:
    """Yield what was repaired or could not be, and then what is still damaged beside that."""
    for outcome in each.mended:
        became = outcome.how or f"still damaged: {outcome.why_not}"
        yield each.found.shown, *_row(outcome.damage), became
    tried = {outcome.damage.name for outcome in each.mended}
    for damage in each.left:
        if damage.name not in tried:
            yield each.found.shown, *_row(damage), "still damaged"


def _row(damage: "Damage") -> tuple[str, str, str]:
    return damage.kind, damage.name, damage.what
