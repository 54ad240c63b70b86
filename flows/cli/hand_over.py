"""Verb ``hand-over``: run the flow ``hand_over`` from the terminal; or take back what was handed over."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_pin, add_runtime, add_verb, source
from flows.cli.output import emit
from flows.cli.pull import handed_over
from flows.cli.session import session
from prestow.errors import InvalidError, printable

if TYPE_CHECKING:
    from prestow.handover.undo import TakenBack


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "hand-over", run,
        help="hand images of this store over to a container runtime of this host, without a network",
        example="prestow hand-over alpine:3.20\nprestow hand-over --pin debian:bookworm alpine:3.20\n"
        "prestow hand-over --undo alpine:3.20\nprestow hand-over --runtime podman alpine:3.20\n"
        "prestow hand-over --mount",
    )  # fmt: skip
    verb.add_argument("names", metavar="NAME", type=source, nargs="*", help="as `prestow images` shows them")
    add_runtime(verb, "which runtime gets them")
    add_pin(verb)
    verb.add_argument(
        "--force", action="store_true", help="take the name from another image that has it in the runtime"
    )
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "--undo", action="store_true", help="take the names and the pin back that still stand for what was handed over"
    )
    what.add_argument(
        "--mount", action="store_true", help="mount every image again that podman was given, as after a boot"
    )


def run(args: argparse.Namespace) -> int:
    """Hand over, or take back."""
    if args.mount:
        return _mount(args)
    if not args.names:
        raise InvalidError("hand-over: which images? `prestow images` lists their names")
    if args.undo:
        return _undo(args)
    with session(args):
        from flows.hand_over import hand_over

        result = hand_over(args.names, args.runtime, args.pin, args.force, args.home, args.namespace)
    text = "\n".join(f"{printable(each.name)} @ {each.digest}\n  {handed_over(each)}" for each in result)
    short = "\n".join(f"{each.name}@{each.digest}" for each in result)
    emit([dataclasses.asdict(each) for each in result], text, args, short=short)
    return 0


def _undo(args: argparse.Namespace) -> int:
    from prestow.handover.undo import undo
    from prestow.store.node import open_node

    if args.pin or args.force:
        raise InvalidError("hand-over: --undo takes names and pin back; leave out --pin and --force")
    taken = undo(open_node(args.home, args.namespace), args.names)
    emit([dataclasses.asdict(each) for each in taken], "\n".join(map(_taken, taken)), args)
    return 0


def _mount(args: argparse.Namespace) -> int:
    from prestow.handover.choose import podman_of
    from prestow.store.node import open_node

    if args.names or args.pin or args.force:
        raise InvalidError("hand-over: --mount is for all that podman was given; leave out names, --pin and --force")
    mounted, layers = podman_of(open_node(args.home, args.namespace)).mount()
    text = f"images that podman was given: {layers}; mounted now: {mounted}"
    emit({"mounted": mounted, "images": layers}, text, args)
    return 0


def _taken(each: "TakenBack") -> str:
    names = ", ".join(map(printable, each.names)) or "no name still stood for it"
    where = f" (namespace {each.namespace})" if each.namespace else ""
    return f"{printable(each.name)}: taken back from {each.runtime}{where}: {names}"
