"""Verb ``images``: what is here, by name; give, label and remove names, look into an image."""

import argparse
from collections.abc import Mapping
from typing import Any

from flows.cli.arguments import Parser, Verbs, add_everywhere, add_ls, add_platform, add_verb, image_name, source
from flows.cli.output import emit, say, size
from flows.cli.tables import fit, listing, moment, page, table
from prestow.errors import printable

_NAME = "as `prestow images` shows it, or its digest"


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "images", show,
        help="list the images of this store",
        example="prestow images\nprestow images --all-namespaces\nprestow images inspect alpine:3.20",
        singular="image",
    )  # fmt: skip
    _add_filters(verb)
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_ls(parts, common, "images", show, _add_filters)
    _add_removing(parts, common, "rm")
    _add_removing(verbs, common, "rmi", listed=False)
    _add_inspecting(parts, common)
    _add_inspecting(verbs, common, listed=False)
    tagging = add_verb(
        parts, common, "tag", tag,
        help="give an image another name", example="prestow images tag alpine:3.20 registry.example/base:1",
    )  # fmt: skip
    tagging.add_argument("source", metavar="SOURCE", type=source, help=f"{_NAME}; also the digest of an earlier target")
    tagging.add_argument("target", metavar="TARGET", type=image_name, help="the new name; an existing name is moved")
    labelling = add_verb(
        parts, common, "label", label,
        help="set and remove labels of a name", example="prestow images label alpine:3.20 team=vision old-",
    )  # fmt: skip
    labelling.add_argument("name", metavar="NAME", type=source, help=_NAME)
    labelling.add_argument("changes", metavar="K=V|K-", nargs="+", type=_change, help="K=V sets a label, K- removes it")


def _add_filters(verb: Parser) -> None:
    verb.add_argument(
        "--filter",
        "-f",
        metavar="label=K[=V]",
        type=_filter,
        action="append",
        default=[],
        help="only images with this label; may be repeated",
    )
    add_everywhere(verb)


def _add_inspecting(verbs: Verbs, common: Parser, *, listed: bool = True) -> None:
    verb = add_verb(
        verbs, common, "inspect", inspect, listed=listed,
        help="show an image's manifest, config and layers", example="prestow images inspect alpine:3.20 --json",
    )  # fmt: skip
    verb.add_argument("name", metavar="NAME", type=source, help=_NAME)
    add_platform(verb)


def _add_removing(verbs: Verbs, common: Parser, name: str, *, listed: bool = True) -> None:
    removing = add_verb(
        verbs, common, name, remove, listed=listed,
        help="remove names; `prune` then deletes unreferenced data",
        example="prestow images rm alpine:3.20 debian:bookworm\nprestow images rm --all sha256:9ed4a7f1",
    )  # fmt: skip
    removing.add_argument(
        "names", metavar="NAME|DIGEST", nargs="+", type=source, help="a name, or the first characters of a digest"
    )
    removing.add_argument("--all", action="store_true", help="remove every name of a digest that has several")
    removing.add_argument("--force", "-f", action="store_true", help="also remove a name that a container uses")


def show(args: argparse.Namespace) -> int:
    """List the names with what they point to."""
    from flows.cli.inspection import summaries
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    everywhere = args.all_namespaces
    records = summaries(node, node.images.every() if everywhere else node.images.list(), dict(args.filter))
    rows = [
        (r["name"], r["digest"], ", ".join(r["platforms"]) or "-", size(r["size"]), moment(r["updated_at"]))
        for r in records
    ]
    text = listing(
        ("NAME", "DIGEST", "PLATFORM", "SIZE", "UPDATED"), rows, records, args.width,
        drop=("UPDATED", "PLATFORM", "DIGEST", "SIZE"), namespaces=everywhere,
    )  # fmt: skip
    emit(records, text, args, short="\n".join(dict.fromkeys(r["digest"] for r in records)))
    return 0


def remove(args: argparse.Namespace) -> int:
    """Forget names."""
    from prestow.metadata.removal import containers_of, remove_images
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    node.make_room()
    node.recover()
    records = remove_images(
        node.database, node.content, args.names, namespace=node.namespace, every_name=args.all, force=args.force
    )
    if used := containers_of(node.containers, [record.name for record in records]):
        say(f"warning: containers that were made of it stay, with what they need: {', '.join(used)}")
    document = [{"name": record.name, "digest": record.target.digest} for record in records]
    emit(document, "\n".join(f"removed {record.name}" for record in records), args)
    return 0


def tag(args: argparse.Namespace) -> int:
    """Return an image another name."""
    from prestow.metadata import tag as engine
    from prestow.reference import Reference
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    node.recover()
    name, found = str(Reference.parse(args.target)), node.images.recall(args.source)
    origin, target = next(iter(found.sources), None), found.target
    record = engine.tag(node.database, node.content, name, target, source=origin, namespace=node.namespace)
    text = fit(f"{record.name} @ {target.digest}", args.width)
    emit({"name": record.name, "digest": target.digest}, text, args)
    return 0


def label(args: argparse.Namespace) -> int:
    """Change the labels of a name, and tell those that it has now."""
    from prestow.metadata import tag as engine
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    node.recover()
    name = node.images.only(args.name).name
    record = engine.label(node.database, node.content, name, dict(args.changes), namespace=node.namespace)
    emit({"name": name, "labels": dict(record.labels)}, _labels(record.labels) or "no labels", args)
    return 0


def inspect(args: argparse.Namespace) -> int:
    """Show one image."""
    from flows.cli.inspection import details
    from prestow.store.node import open_node

    document = details(open_node(args.home, args.namespace), args.name, args.platform)
    emit(document, _page(document, args.width), args)
    return 0


def _page(document: dict[str, Any], width: int | None) -> str:
    parts = ("layers", "config", "blobs")
    shown = {key: document[key] for key in document if key not in parts} | {
        "labels": ", ".join(_labels(document["labels"]).splitlines()),
        "earlier": ", ".join(f"{each['digest']} until {moment(each['replaced_at'])}" for each in document["earlier"]),
    }
    if "blobs" in document:
        shown |= {"artifact_type": printable(document["artifact_type"]), "manifests": ", ".join(document["manifests"])}
    head = page({key: value for key, value in shown.items() if value}, width)
    return "\n".join([head, *(_artifact(document, width) if "blobs" in document else _image(document, width))])


def _image(document: dict[str, Any], width: int | None) -> list[str]:
    layers = [
        (layer["diff_id"], layer["media_type"], size(layer["size"]), layer["state"]) for layer in document["layers"]
    ]
    config = {key: value for key, value in document["config"].items() if value}
    layout = table(("DIFF ID", "MEDIA TYPE", "SIZE", "STATE"), layers, width, drop=("MEDIA TYPE", "SIZE"))
    return [*(["config", page(config, width, indent="  ")] if config else []), "layers", layout]


def _artifact(document: dict[str, Any], width: int | None) -> list[str]:
    blobs = [
        (blob["digest"], blob["media_type"], size(blob["size"]), blob["state"], printable(blob["title"]))
        for blob in document["blobs"]
    ]
    header = ("DIGEST", "MEDIA TYPE", "SIZE", "STATE", "TITLE")
    return ["blobs", table(header, blobs, width, drop=("MEDIA TYPE", "STATE", "SIZE"))]


def _labels(labels: Mapping[str, str]) -> str:
    return "\n".join(printable(f"{key}={value}", 8192) for key, value in sorted(labels.items()))


def _filter(text: str) -> tuple[str, str | None]:
    kind, _, label = text.partition("=")
    key, equals, value = label.partition("=")
    if kind != "label" or not key:
        raise argparse.ArgumentTypeError(f"expected label=KEY or label=KEY=VALUE, found {text!r}")
    return key, value if equals else None


def _change(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not equals and key.endswith("-"):
        key, value = key[:-1], ""
    elif not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, or KEY- to take it away, found {text!r}")
    if not key:
        raise argparse.ArgumentTypeError(f"expected a label's key, found {text!r}")
    return key, value if equals else None
