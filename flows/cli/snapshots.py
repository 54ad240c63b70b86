"""Verb ``snapshots``: what is unpacked, and what containers write on."""

import argparse

from flows.cli.arguments import Parser, Verbs, add_ls, add_verb
from flows.cli.output import emit
from flows.cli.tables import table


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verb."""
    verb = add_verb(
        verbs,
        common,
        "snapshots",
        show,
        help="list the snapshots of this store",
        example="prestow snapshots --json",
        singular="snapshot",
    )
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_ls(parts, common, "snapshots", show, lambda _: None)


def show(args: argparse.Namespace) -> int:
    """List all snapshots of all drivers."""
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    found = [info._asdict() | {"kind": info.kind.value} for info in node.snapshots()]
    rows = [(s["driver"], s["kind"], s["key"], s["parent"] or "-", s["diff_id"] or "-") for s in found]
    text = table(
        ("DRIVER", "KIND", "KEY", "PARENT", "DIFF ID"), rows, args.width, drop=("DIFF ID", "PARENT", "KIND", "DRIVER")
    )
    emit(found, text, args, short="\n".join(s["key"] for s in found))
    return 0
