"""Verb ``images``: what is here, by name; remove a name, look into an image."""

import argparse
import time
from typing import Any

from flows.cli.arguments import Parser, Verbs, add_platform, add_verb, source
from flows.cli.output import emit, page, size, table


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its two sub-verbs."""
    verb = add_verb(
        verbs, common, "images", show,
        help="list the images of this store", example="prestow images\nprestow images inspect alpine:3.20",
    )  # fmt: skip
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    removing = add_verb(
        parts, common, "rm", remove,
        help="forget a name; prune frees what nothing else uses", example="prestow images rm alpine:3.20",
    )  # fmt: skip
    removing.add_argument("name", metavar="NAME", type=source, help="as `prestow images` shows it")
    inspecting = add_verb(
        parts, common, "inspect", inspect,
        help="show an image's manifest, config and layers", example="prestow images inspect alpine:3.20 --json",
    )  # fmt: skip
    inspecting.add_argument("name", metavar="NAME", type=source, help="as `prestow images` shows it")
    add_platform(inspecting)


def show(args: argparse.Namespace) -> int:
    """List the names with what they point to."""
    from flows.cli.inspection import summaries  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.node import open_node  # noqa: PLC0415 - likewise

    records = summaries(open_node(args.home, args.namespace))
    rows = [
        (r["name"], r["digest"][:19], ", ".join(r["platforms"]) or "-", size(r["size"]), _age(r["updated_at"]))
        for r in records
    ]
    emit(records, table(("NAME", "DIGEST", "PLATFORM", "SIZE", "UPDATED"), rows), as_json=args.json)
    return 0


def remove(args: argparse.Namespace) -> int:
    """Forget a name."""
    from prestow.metadata.tag import untag  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.node import open_node  # noqa: PLC0415 - likewise

    node = open_node(args.home, args.namespace)
    record = untag(node.database, node.content, node.image(args.name).name, namespace=node.namespace)
    emit({"name": record.name, "digest": record.target.digest}, f"removed {record.name}", as_json=args.json)
    return 0


def inspect(args: argparse.Namespace) -> int:
    """Show one image."""
    from flows.cli.inspection import details  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.node import open_node  # noqa: PLC0415 - likewise

    document = details(open_node(args.home, args.namespace), args.name, args.platform)
    emit(document, _page(document), as_json=args.json)
    return 0


def _page(document: dict[str, Any]) -> str:
    layers = [
        (layer["diff_id"][:19], layer["media_type"], size(layer["size"]), layer["state"])
        for layer in document["layers"]
    ]
    head = {key: document[key] for key in document if key not in ("layers", "config")}
    config = {key: value for key, value in document["config"].items() if value}
    parts = (page(head), "config", page(config, indent="  "), "layers")
    return "\n".join([*parts, table(("DIFF ID", "MEDIA TYPE", "SIZE", "STATE"), layers)])


def _age(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
