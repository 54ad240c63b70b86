"""Verb ``prepull``: run the flow ``prepull`` from the terminal."""

import argparse
import dataclasses
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
    count,
    hand_over_to,
    source,
)
from flows.cli.output import complain, emit, size
from flows.cli.session import session
from flows.cli.tables import table
from prestow.errors import InvalidError

if TYPE_CHECKING:
    from flows.forms.results import Prepulled


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "prepull", run,
        help="pull a list of images onto this host; a failed image does not stop the others",
        example="prestow prepull alpine:3.20 debian:bookworm --parallel 2\nprestow prepull --hand-over alpine:3.20",
    )  # fmt: skip
    verb.add_argument("references", metavar="REF", type=source, nargs="+", help="images to pull")
    verb.add_argument(
        "--parallel", type=count, metavar="N", help="images pulled at the same time (default: parallel_images)"
    )
    add_platform(verb)
    add_credentials(verb)
    add_driver(verb)
    add_unpack(verb)
    add_hand_over(verb)


def run(args: argparse.Namespace) -> int:
    """Pull all, and tell what is here."""
    from flows.forms.parameters import MOST_IMAGES

    if len(args.references) > MOST_IMAGES:
        raise InvalidError(f"{len(args.references)} images at once; at most {MOST_IMAGES}: divide them")
    with session(args):
        from flows.fanout import PrepullError
        from flows.prepull import prepull

        try:
            result = prepull(
                args.references, args.platform, args.parallel, args.driver, args.unpack, args.credentials,
                hand_over=hand_over_to(args), pin=args.pin, home=args.home, namespace=args.namespace,
            )  # fmt: skip
        except PrepullError as error:
            result = error.result
            complain(error, as_json=args.json)
    here = [f"{image.name}@{image.digest}" for image in result.images if not image.error]
    emit(dataclasses.asdict(result), _page(result, args.width), args, short="\n".join(here))
    return 1 if result.failed else 0


def _page(result: "Prepulled", width: int | None) -> str:
    rows = [
        (image.reference, image.digest or "-", size(image.fetched_bytes), "failed" if image.error else "here")
        for image in result.images
    ]
    return table(("IMAGE", "DIGEST", "FETCHED", "STATE"), rows, width, drop=("DIGEST", "FETCHED"))
