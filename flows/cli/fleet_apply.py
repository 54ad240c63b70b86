"""Sub-verb ``fleet apply``: bring an image set onto its hosts, wave after wave."""

import argparse
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import add_file, add_set, choose
from flows.cli.output import emit, say, table
from flows.cli.session import connection

if TYPE_CHECKING:
    from flows.forms.results import RolledOut

INCOMPLETE = 1
"""Exit status: some hosts lack something."""

NOTHING_TO_DO = 20
"""Exit status: every host had all images before."""


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "apply", run,
        help="bring the locked images of a set onto its hosts, wave after wave",
        example="prestow fleet apply nightly\nprestow fleet apply --plan plan.json\nprestow fleet apply --retry-failed",
    )  # fmt: skip
    add_set(verb)
    add_file(verb)
    verb.add_argument("--plan", metavar="FILE", help="refuse if anything has moved since this plan was made")
    verb.add_argument(
        "--retry-failed", action="store_true", help="ask only the hosts again that lacked something at the end"
    )


def run(args: argparse.Namespace) -> int:
    """Apply, and tell of the hosts that lack something."""
    chosen = choose(args)
    _ = chosen.locked
    with connection(args):
        from flows.cli.person import person
        from flows.fleet import fleet
        from flows.rollout.coordinating import RolloutError
        from flows.runs.approval import asking

        if args.plan:
            from flows.rollout.plans import check_saved

            check_saved(args.plan, chosen)
        try:
            with asking(person()):
                result = fleet(chosen.name, str(chosen.path.resolve()), args.retry_failed, args.home)
        except RolloutError as error:
            result = error.result
            say(f"prestow: {error}")
    emit(dataclasses.asdict(result), _page(result), as_json=args.json)
    return {"complete": 0, "nothing-to-do": NOTHING_TO_DO}.get(result.end, INCOMPLETE)


def _page(result: "RolledOut") -> str:
    head = f"{result.image_set} · generation {result.generation}: {result.reason}"
    if result.held_back is not None:
        head += f"\ngeneration {result.held_back} is held back: `prestow fleet release {result.image_set}` lets it go"
    lacking = [host for host in result.hosts if host.verdict != "done"]
    counts = Counter(str(host.verdict) for host in result.hosts)
    head += "\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = [(host.host, str(host.verdict), str(host.attempts), host.cause) for host in lacking]
    return f"{head}\n\n{table(('HOST', 'VERDICT', 'ATTEMPTS', 'CAUSE'), rows)}" if rows else head
