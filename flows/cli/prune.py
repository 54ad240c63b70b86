"""Verb ``prune``: free what no name, container or lease holds."""

import argparse
import dataclasses
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit, say, size
from flows.cli.session import session
from flows.cli.tables import fit, table
from flows.local_server.ensure import SCARCE

if TYPE_CHECKING:
    from prestow.gc.prune import Pruned

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([dhw])", re.ASCII)
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0}


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "prune", run,
        help="delete unreferenced data, and remove names by the retention rules in the settings or given here",
        example="prestow prune --dry-run\nprestow prune --unfinished\n"
        "prestow prune --unused-for 30d --keep-generations 2\nprestow prune --above 85 --below 70",
    )  # fmt: skip
    verb.add_argument("--dry-run", action="store_true", help="list what would be removed and why, and remove nothing")
    verb.add_argument(
        "--unfinished", action="store_true",
        help="also remove partial downloads of stopped, failed and killed pulls now instead of after ingest_days",
    )  # fmt: skip
    verb.add_argument(
        "--unused-for", metavar="DURATION", type=_duration,
        help="remove names that were neither pulled nor used for this long: 36h, 30d, 8w (default: unused_days)",
    )  # fmt: skip
    verb.add_argument(
        "--keep-generations", metavar="N", type=_count,
        help="keep the last N earlier targets of each name (default: keep_generations)",
    )  # fmt: skip
    verb.add_argument(
        "--above", metavar="PERCENT", type=_percent,
        help="when disk usage is above this, remove the least recently used names (default: disk_above)",
    )  # fmt: skip
    verb.add_argument(
        "--below", metavar="PERCENT", type=_percent,
        help="stop when disk usage has fallen to this percentage (default: disk_below, else --above)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Prune; a dry run needs no Prefect, and a disk without space for its records gets none."""
    options = {
        "keep_generations": args.keep_generations,
        "unused_days": args.unused_for,
        "above": args.above,
        "below": args.below,
        "unfinished": args.unfinished,
    }
    above = _checked_mark(args, options)
    scarce = _scarce(args)
    if args.dry_run or scarce:
        if scarce and not args.dry_run:
            say("the disk is almost full: pruning without a flow run, which would have to write its records there")
        swept = _directly(args, options)
    else:
        with session(args):
            from flows.prune import prune

            swept = prune(home=args.home, **options)
    for left in swept.left:
        say(f"kept: {left}")
    for orphan in swept.orphaned:
        say(f"container {orphan.namespace}/{orphan.id}: {orphan.what}")
    if above is not None and not args.dry_run:
        _say_still_full(args, above)
    document = dataclasses.asdict(swept) | {"bytes": swept.bytes, "totals": _totals(swept)}
    emit(document, _text(swept, "would free" if swept.dry_run else "freed", args.width), args)
    return 1 if swept.left else 0


def _checked_mark(args: argparse.Namespace, options: dict[str, Any]) -> float | None:
    """Return the high mark of the disk; what contradicts itself, or the settings, is refused before anything begins."""
    from prestow.gc.prune import Choice, rules
    from prestow.store.node import open_node

    return rules(open_node(args.home, args.namespace), Choice(**options)).retention.above


def _say_still_full(args: argparse.Namespace, above: float) -> None:
    """Warn an operator whose mark could not be reached, for what is left is in use, labelled, or not the store's."""
    disk = shutil.disk_usage(args.home)
    if (percent := 100 * disk.used / (disk.used + disk.free)) > above:
        say(f"the disk is still {percent:.0f}% full, more than {above:g}%: no name that may go frees any more of it")


def _scarce(args: argparse.Namespace) -> bool:
    """Whether the store's disk lacks the space for what Prefect writes about a run."""
    from prestow.store.node import open_node

    return shutil.disk_usage(open_node(args.home, args.namespace).home).free < SCARCE


def _directly(args: argparse.Namespace, options: dict[str, Any]) -> "Pruned":
    from prestow.gc.prune import Choice, prune
    from prestow.store.node import open_node

    return prune(open_node(args.home, args.namespace), Choice(**options), dry_run=args.dry_run)


def _totals(swept: "Pruned") -> dict[str, dict[str, int]]:
    """Count what went, by kind."""
    totals: dict[str, dict[str, int]] = {}
    for removed in swept.removed:
        total = totals.setdefault(removed.kind, {"count": 0, "bytes": 0})
        total["count"] += 1
        total["bytes"] += removed.bytes
    return totals


def _text(swept: "Pruned", verb: str, width: int | None) -> str:
    kinds = list(_totals(swept))
    removed = sorted(swept.removed, key=lambda each: (kinds.index(each.kind), -each.bytes, each.name))
    rows = [(each.kind, each.name, size(each.bytes) if each.bytes else "-", each.why) for each in removed]
    counts = ", ".join(f"{total['count']} {kind}{'s' * (total['count'] > 1)}" for kind, total in _totals(swept).items())
    total = f"{verb} {size(swept.bytes)}" + (f": {counts}" if counts else "")
    return "\n".join([*_listed(rows, width), fit(total, width)])


def _listed(rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """Yield the table, if there is one; on a terminal, a reason that all rows share stands below it, once."""
    reasons = {why for *_, why in rows}
    if width is not None and len(rows) > 1 and len(reasons) == 1:
        yield table(("KIND", "NAME", "SIZE"), [row[:-1] for row in rows], width, drop=("KIND", "SIZE"))
        yield fit(f"each of them: {reasons.pop()}", width)
    elif rows:
        yield table(("KIND", "NAME", "SIZE", "WHY"), rows, width, drop=("KIND", "WHY", "SIZE"))


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected a duration such as 36h, 30d or 8w, found {text!r}")
    return float(found[1]) * _DAYS[found[2]]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len("1000000")):
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}")
    return int(text)


def _percent(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text, re.ASCII) or not 0 < float(text) <= 100:  # noqa: PLR2004 - percent
        raise argparse.ArgumentTypeError(f"expected a percentage, more than 0 and at most 100, found {text!r}")
    return float(text)
