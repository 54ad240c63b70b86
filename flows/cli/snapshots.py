"""Verb ``snapshots``: what is unpacked, and what containers write on."""

import argparse
import dataclasses

from flows.cli.arguments import Parser, Verbs, add_ls, add_verb
from flows.cli.output import emit, table


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verb."""
    verb = add_verb(
        verbs, common, "snapshots", show, help="list the snapshots of this store", example="prestow snapshots --json"
    )
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_ls(parts, common, "snapshots", show, lambda _: None)


def show(args: argparse.Namespace) -> int:
    """List all snapshots of all drivers."""
    from prestow.store.node import open_node

    found = [
        dataclasses.asdict(info) | {"kind": info.kind.value}
        for info in open_node(args.home, args.namespace).snapshots()
    ]
    rows = [(s["driver"], s["kind"], _short(s["key"]), _short(s["parent"]), s["diff_id"] or "-") for s in found]
    emit(found, table(("DRIVER", "KIND", "KEY", "PARENT", "DIFF ID"), rows), as_json=args.json)
    return 0


def _short(key: str | None) -> str:
    """Cut a chain ID short, but no key that a person chose."""
    return "-" if key is None else key[:19] if key.startswith(("sha256:", "sha512:")) else key
