"""Verb ``in-use``: whether the container runtime of this host uses the images of this store, as it says itself."""

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING

from config.runtimes import plain_setting
from flows.cli.arguments import Parser, Verbs, add_runtime, add_verb, source
from flows.cli.output import emit, size
from flows.cli.tables import table
from flows.forms.figures import duration
from prestow.errors import printable

if TYPE_CHECKING:
    from prestow.handover.in_use import InUse
    from prestow.handover.runtime import Look

_NOT_IN_USE = 1


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "in-use", run,
        help="ask the container runtime of this host which images it uses; the exit status tells whether all are",
        example="prestow in-use\nprestow in-use alpine:3.20\nprestow in-use --json",
    )  # fmt: skip
    verb.add_argument(
        "names", metavar="NAME", type=source, nargs="*",
        help="images that have to be in use (default: those that were handed over; all are listed)",
    )  # fmt: skip
    add_runtime(verb, "which runtime to ask")


def run(args: argparse.Namespace) -> int:
    """Ask, and list."""
    from prestow.handover.in_use import in_use
    from prestow.store.node import open_node
    from prestow.store.opened import own_name

    look, images = in_use(open_node(args.home, args.namespace), args.names, args.runtime)
    host = plain_setting("node_name") or own_name()
    document = {
        "host": host,
        "runtime": look.runtime,
        "version": look.version,
        "namespace": look.namespace,
        "snapshotter": look.snapshotter,
        "images": [dataclasses.asdict(each) for each in images],
    }
    emit(document, _page(host, look, images, args.width), args)
    needed = [each for each in images if args.names or each.handed_over]
    return 0 if all(each.in_use for each in needed) else _NOT_IN_USE


def _page(host: str, look: "Look", images: "list[InUse]", width: int | None) -> str:
    namespace = f", namespace {look.namespace}" if look.namespace else ""
    about = f"{look.runtime} {look.version} on {host}{namespace}, snapshotter {look.snapshotter}"
    rows = [(each.name, each.digest, *_state(each)) for each in images]
    header = ("IMAGE", "DIGEST", "IN USE", "FORM", "PINNED", "SHARED", "LAST CONTAINER")
    lines = [about, table(header, rows, width, drop=("SHARED", "FORM", "DIGEST", "PINNED", "LAST CONTAINER"))]
    faults = [f"{printable(each.name)}: {fault}" for each in images if each.handed_over for fault in each.faults]
    return "\n".join([*lines, *faults])


def _state(each: "InUse") -> tuple[str, ...]:
    last = "-" if each.last_container is None else f"{duration(time.time() - each.last_container)} ago"
    return (
        "yes" if each.in_use else "no",
        each.form or "-",
        "yes" if each.pinned else "no",
        size(each.shared_bytes),
        last,
    )
