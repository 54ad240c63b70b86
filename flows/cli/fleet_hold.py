"""Sub-verbs ``fleet rollback`` and ``fleet release``: an earlier generation is applied until it is released."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import add_file, add_set, choose
from flows.cli.output import emit
from flows.cli.session import connection

if TYPE_CHECKING:
    from prestow.fleet.hold import Hold


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verbs."""
    back = add_verb(
        parts, common, "rollback", rollback,
        help="hold an earlier generation of an image set: every apply uses it until it is released",
        example='prestow fleet rollback 11 nightly --reason "12 does not start"\nprestow fleet apply nightly',
    )  # fmt: skip
    back.add_argument("generation", metavar="GENERATION", type=generation, help="number of a generation once applied")
    add_set(back)
    back.add_argument("--reason", metavar="TEXT", default="", help="why, for those who see the hold")
    add_file(back)
    free = add_verb(
        parts, common, "release", release,
        help="end the hold of a rollback: the lock decides again",
        example="prestow fleet release nightly",
    )  # fmt: skip
    add_set(free)
    add_file(free)


def generation(text: str) -> int:
    """Check the number of a generation."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) == int(text)):
        raise argparse.ArgumentTypeError(f"expected the number of a generation, found {text!r}")
    return int(text)


def rollback(args: argparse.Namespace) -> int:
    """Hold a generation."""
    chosen = choose(args)
    with connection(args):
        from datetime import UTC, datetime

        from prefect import get_client

        from flows.rollout import generations, holding
        from prestow.fleet.hold import Hold

        with get_client(sync_client=True) as client:
            generations.read(client, chosen.name, args.generation)
            found = Hold(generation=args.generation, since=datetime.now(UTC), reason=args.reason)
            holding.hold(client, chosen.name, found)
    text = (
        f"{chosen.name}: generation {args.generation} holds until `prestow fleet release {chosen.name}`; "
        f"`prestow fleet apply {chosen.name}` applies it now"
    )
    emit(_document(chosen.name, found), text, args)
    return 0


def release(args: argparse.Namespace) -> int:
    """Let the lock decide."""
    chosen = choose(args)
    with connection(args):
        from prefect import get_client

        from flows.rollout import holding

        with get_client(sync_client=True) as client:
            released = holding.release(client, chosen.name)
    text = f"{chosen.name}: {'released; the lock decides again' if released else 'there was no hold'}"
    emit({"image_set": chosen.name, "released": released}, text, args)
    return 0


def _document(image_set: str, found: "Hold") -> dict[str, object]:
    return {
        "image_set": image_set,
        "generation": found.generation,
        "since": found.since.isoformat(),
        "reason": found.reason,
    }
