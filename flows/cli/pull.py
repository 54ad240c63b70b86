"""Verb ``pull``: run the flow ``pull`` from the terminal."""

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING

from flows.cli.arguments import (
    Parser,
    Verbs,
    add_credentials,
    add_driver,
    add_hand_over,
    add_platform,
    add_unpack,
    add_verb,
    hand_over_to,
    image_name,
    source,
)
from flows.cli.output import emit, size
from flows.cli.session import session
from flows.cli.tables import fit, page, table
from flows.forms.figures import duration
from prestow.checkpoints import CHECKPOINTS
from prestow.errors import printable

if TYPE_CHECKING:
    from flows.forms.results import Foreseen, Pulled, PulledLayer
    from prestow.handover.hand_over import HandOver


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "pull", run,
        help="fetch an image, verify it, unpack it and tag it",
        example="prestow pull docker.io/library/alpine:3.20\nprestow pull oci:/srv/images:app --name local/app:1\n"
        "prestow pull oci-archive:/media/stick/app.tar\n"
        "prestow pull --hold-after manifest-stored registry.example/team/app:2\n"
        "prestow pull --dry-run ubuntu:24.04\n"
        "prestow pull --no-unpack registry.example/charts/app:1\n"
        "prestow pull --hand-over --pin alpine:3.20",
    )  # fmt: skip
    verb.add_argument(
        "reference",
        metavar="REF",
        type=source,
        help="image reference; or an image on disk: oci:PATH[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF]",
    )
    add_platform(verb)
    verb.add_argument("--name", type=image_name, help="name in the store (default: the reference itself)")
    checkpoints = CHECKPOINTS[: CHECKPOINTS.index("handed-over") + 1]
    verb.add_argument(
        "--stop-after",
        metavar="CHECKPOINT",
        choices=checkpoints,
        help="stop after this checkpoint; the next pull resumes from there: %(choices)s",
    )
    verb.add_argument(
        "--hold-after",
        metavar="CHECKPOINT",
        choices=checkpoints,
        help="show the image after this checkpoint, and wait for approval, here or in the Prefect UI",
    )
    add_credentials(verb)
    add_driver(verb)
    verb.add_argument(
        "--dry-run",
        action="store_true",
        help="report what a pull would fetch and the space it needs; fetches only the manifest and config, which the "
        "next prune removes (Docker Hub counts this as one pull)",
    )
    add_unpack(verb)
    add_hand_over(verb)


def run(args: argparse.Namespace) -> int:
    """Pull, with progress on standard error."""
    with session(args):
        from flows.cli.person import person
        from flows.pull import pull
        from flows.runs.approval import asking

        with asking(person()):
            pulled = pull(
                args.reference, args.platform, args.name, args.stop_after, args.hold_after, args.driver, args.dry_run,
                args.unpack, args.credentials, hand_over_to(args), args.pin, args.home, args.namespace,
            )  # fmt: skip
    emit(dataclasses.asdict(pulled), _page(pulled, args.width), args, short=f"{pulled.name}@{pulled.digest}")
    return 0


def _page(pulled: "Pulled", width: int | None) -> str:
    if pulled.foreseen is not None:
        return _outlook(pulled, pulled.foreseen, width)
    rows = [(layer.digest, size(layer.size), layer.state, _fetched(layer)) for layer in pulled.layers]
    moved = f"fetched {size(pulled.fetched_bytes)}, reused {size(pulled.reused_bytes)}"
    if pulled.reused_bytes and not pulled.fetched_bytes:
        moved = f"all of it was here, fetched nothing, reused {size(pulled.reused_bytes)}"
    lines = [
        fit(f"{pulled.name} @ {pulled.digest}", width),
        table(("LAYER", "SIZE", "STATE", "FETCHED"), rows, width, drop=("STATE", "SIZE")) if rows else "",
        fit(f"{pulled.checkpoint}: {moved}, {pulled.seconds['total']:.2f} s", width),
        *([fit(handed_over(pulled.handed_over), width)] if pulled.handed_over else []),
    ]
    return "\n".join(line for line in lines if line)


def handed_over(image: "HandOver") -> str:
    """Return a line about an image that a runtime has."""
    how = f"{image.form}, " if image.form else ""
    why = f" (not linked: {image.why})" if image.form == "applied" and image.why else ""
    pinned = "pinned, " if image.pinned else ""
    namespace = f", namespace {image.namespace}" if image.namespace else ""
    return (
        f"in use by {image.runtime}{namespace}, snapshotter {image.snapshotter}: "
        f"{how}{pinned}{size(image.shared_bytes)} shared{why}"
    )


def _outlook(pulled: "Pulled", foreseen: "Foreseen", width: int | None) -> str:
    from flows.runs.foreseeing import summary

    now = time.time()
    aside = [f"{each.origin} for {duration(each.until - now)} more: {each.why}" for each in foreseen.set_aside]
    rows = [
        (layer.digest, size(layer.size), layer.state, size(layer.missing_bytes) if layer.missing_bytes else "-")
        for layer in pulled.layers
    ]
    about = {
        "server": foreseen.server or "none was asked: the digest is here",
        **({"set aside": "; ".join(aside)} if aside else {}),
        "platform": pulled.platform or "",
    }
    layers = table(("LAYER", "SIZE", "STATE", "TO FETCH"), rows, width, drop=("STATE", "SIZE"))
    lines = [fit(f"{pulled.name} @ {pulled.digest}", width), page(about, width), layers]
    return "\n".join([*lines, *(fit(printable(line), width) for line in summary(foreseen))])


def _fetched(layer: "PulledLayer") -> str:
    if layer.fetched_bytes:
        return size(layer.fetched_bytes)
    return "-" if layer.state == "missing" else "reused"
