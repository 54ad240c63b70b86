"""Verb ``containers``: what bundles were made, and their end."""

import argparse
import dataclasses

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit, table


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verb."""
    verb = add_verb(
        verbs, common, "containers", show, help="list the containers of this store", example="prestow containers"
    )
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    removing = add_verb(
        parts, common, "rm", remove,
        help="remove a container: unmount its bundle, drop what it wrote", example="prestow containers rm demo",
    )  # fmt: skip
    removing.add_argument("id", metavar="ID", help="as `prestow containers` shows it")


def show(args: argparse.Namespace) -> int:
    """List the containers."""
    from prestow.node import open_node  # noqa: PLC0415 - keep `prestow --help` quick

    found = [dataclasses.asdict(record) for record in open_node(args.home, args.namespace).containers.list()]
    rows = [(c["id"], c["image"], c["driver"], c["bundle"]) for c in found]
    emit(found, table(("ID", "IMAGE", "DRIVER", "BUNDLE"), rows), as_json=args.json)
    return 0


def remove(args: argparse.Namespace) -> int:
    """Remove one container."""
    from prestow.container import remove_container  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.node import open_node  # noqa: PLC0415 - likewise

    record = remove_container(open_node(args.home, args.namespace), args.id)
    emit(dataclasses.asdict(record), f"removed {record.id}", as_json=args.json)
    return 0
