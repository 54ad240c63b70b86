"""Verb ``explain``: why something is still in the store, or that the next prune removes it."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit, size
from flows.cli.tables import fit
from prestow.errors import printable

if TYPE_CHECKING:
    from prestow.gc.explain import Explanation, Reason


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "explain", run,
        help="say why a blob, image, snapshot, container or partial download is kept",
        example="prestow explain alpine:3.20\nprestow explain sha256:9824c27679d3\nprestow explain erofs/mine --json",
    )  # fmt: skip
    verb.add_argument(
        "what",
        metavar="DIGEST|NAME|SNAPSHOT|CONTAINER",
        help="a digest or its first characters, an image, a snapshot as [DRIVER/]KEY, a container, a ref or a lease",
    )


def run(args: argparse.Namespace) -> int:
    """Explain."""
    from prestow.gc.explain import explain
    from prestow.store.node import open_node

    found = explain(open_node(args.home, args.namespace), args.what)
    emit([dataclasses.asdict(each) for each in found], fit("\n".join(map(_explained, found)), args.width), args)
    return 0


def _explained(found: "Explanation") -> str:
    shared = ", which a runtime has a link to" if found.shared else ""
    takes = "" if found.bytes is None else f" ({size(found.bytes)}{shared})"
    head = f"{found.kind} {printable(found.name)}{takes}: "
    if not found.kept:
        return f"{head}nothing keeps it, prune would remove it: {printable(found.removal, 500)}"
    return "\n".join([f"{head}kept", *map(_line, found.reasons)])


def _line(reason: "Reason") -> str:
    way = "".join(f"\n    -> {link.kind} {printable(link.name)}" for link in reason.way[1:])
    return f"  {printable(reason.why, 500)}{way}"
