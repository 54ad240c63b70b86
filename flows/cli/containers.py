"""Verb ``containers``: what bundles were made, what runs of them, and their end."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_everywhere, add_ls, add_verb, seconds
from flows.cli.output import emit
from flows.cli.tables import listing

if TYPE_CHECKING:
    from prestow.metadata.container_files import ContainerRecord

_ID = "as `prestow containers` shows it"


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "containers", show,
        help="list the containers of this store", example="prestow containers\nprestow ps",
        aliases=["ps"], singular="container",
    )  # fmt: skip
    _add_filters(verb)
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_ls(parts, common, "containers", show, _add_filters)
    stopping = add_verb(
        parts, common, "stop", stop,
        help="stop a container's process by the image's stop signal or SIGTERM, and kill it if it ignores that",
        example="prestow containers stop demo --grace 30",
    )  # fmt: skip
    stopping.add_argument("id", metavar="ID", help=_ID)
    stopping.add_argument(
        "--grace",
        type=seconds,
        default=10,
        metavar="SECONDS",
        help="time between the stop signal and SIGKILL (default: 10)",
    )
    removing = add_verb(
        parts, common, "rm", remove,
        help="remove a container: unmount its bundle, delete what it wrote", example="prestow containers rm demo",
    )  # fmt: skip
    removing.add_argument("id", metavar="ID", help=_ID)


def _add_filters(verb: Parser) -> None:
    add_everywhere(verb)
    verb.add_argument(
        "--all", "-a", action="store_true", help="no effect: containers that have stopped are always listed"
    )


def show(args: argparse.Namespace) -> int:
    """List the containers, with what their processes do."""
    from prestow.store.node import open_node

    node, everywhere = open_node(args.home, args.namespace), args.all_namespaces
    records = node.containers.every() if everywhere else node.containers.list()
    found = [{**dataclasses.asdict(record), "status": _status(args.home, record)} for record in records]
    rows = [(c["id"], c["image"], c["status"], c["driver"], c["bundle"]) for c in found]
    text = listing(
        ("ID", "IMAGE", "STATUS", "DRIVER", "BUNDLE"), rows, found, args.width,
        drop=("BUNDLE", "DRIVER", "IMAGE"), namespaces=everywhere,
    )  # fmt: skip
    emit(found, text, args, short="\n".join(c["id"] for c in found))
    return 0


def _status(home: str, record: "ContainerRecord") -> str:
    from prestow.containers.process import shown_status  # it imports what starts processes
    from prestow.store.node import open_node

    return shown_status(open_node(home, record.namespace), record.id)


def stop(args: argparse.Namespace) -> int:
    """Stop one container; that it does not run is what was asked for."""
    from prestow.containers.process import stop as end_process
    from prestow.store.node import open_node

    ran = end_process(open_node(args.home, args.namespace), args.id, grace_seconds=args.grace)
    text = f"stopped {args.id}" if ran else f"{args.id} does not run"
    emit({"id": args.id, "was_running": ran}, text, args)
    return 0


def remove(args: argparse.Namespace) -> int:
    """Remove one container."""
    from prestow.containers.create import remove_container
    from prestow.store.node import open_node

    record = remove_container(open_node(args.home, args.namespace), args.id)
    emit(dataclasses.asdict(record), f"removed {record.id}", args)
    return 0
