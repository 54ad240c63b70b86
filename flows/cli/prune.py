"""Verb ``prune``: free what no name, container or lease holds."""

import argparse
import dataclasses

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit, say, size, table
from flows.cli.session import session


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "prune", run,
        help="free the blobs, snapshots and partial downloads that nothing holds",
        example="prestow prune --dry-run\nprestow prune",
    )  # fmt: skip
    verb.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")


def run(args: argparse.Namespace) -> int:
    """Prune; a dry run needs no Prefect."""
    if args.dry_run:
        from prestow.node import open_node  # noqa: PLC0415 - keep `prestow --help` quick

        swept = open_node(args.home).sweep(dry_run=True)
    else:
        with session(args):
            from flows.prune import prune  # noqa: PLC0415 - Prefect, once its API is known

            swept = prune(home=args.home)
    rows = [("blob", str(digest), size(bytes_)) for digest, bytes_ in swept.blobs]
    rows += [("snapshot", f"{driver}/{key}", "-") for driver, key in swept.snapshots] + [
        ("ingest", ref, "-") for ref in swept.ingests
    ]
    verb = "would free" if args.dry_run else "freed"
    text = table(("KIND", "NAME", "SIZE"), rows) + "\n" if rows else ""
    for left in swept.left:
        say(f"kept: {left}")
    emit(dataclasses.asdict(swept) | {"dry_run": args.dry_run}, f"{text}{verb} {size(swept.bytes)}", as_json=args.json)
    return 1 if swept.left else 0
