"""Sub-verb ``fleet apply``: bring an image set onto its hosts, wave after wave."""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import Chosen, add_file, choose
from flows.cli.output import complain, emit
from flows.cli.session import connection
from flows.cli.tables import table
from prestow.errors import PreconditionError

if TYPE_CHECKING:
    from flows.forms.results import RolledOut
    from prestow.fleet.plan import Plan

_TOLD = 10  # sentences of what has moved

INCOMPLETE = 1
"""Exit status: some hosts lack something."""

NOTHING_TO_DO = 20
"""Exit status: every host had all images before."""


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "apply", run,
        help="bring the locked images of a set onto its hosts, wave after wave",
        example="prestow fleet apply nightly\nprestow fleet apply plan.json\nprestow fleet apply --retry-failed",
    )  # fmt: skip
    verb.add_argument(
        "set", metavar="SET|PLAN", nargs="?",
        help="the image set (default: the only one of the file); or a file that `fleet plan --out` wrote: its set, "
        "refused if anything has moved since",
    )  # fmt: skip
    add_file(verb)
    verb.add_argument(
        "--retry-failed", action="store_true", help="ask only the hosts again that lacked something at the end"
    )


def run(args: argparse.Namespace) -> int:
    """Apply, and tell of the hosts that lack something."""
    plan = Path(args.set) if args.set is not None and _is_path(args.set) else None
    saved = None if plan is None else read_plan(plan)
    if saved is not None:
        args.set = saved.set
    chosen = choose(args)
    _ = chosen.locked
    with connection(args):
        from flows.cli.person import person
        from flows.fleet import fleet
        from flows.rollout.coordinating import RolloutError
        from flows.runs.approval import asking

        if plan is not None and saved is not None:
            _check_plan(plan, saved, chosen)
        try:
            with asking(person()):
                result = fleet(chosen.name, str(chosen.path.resolve()), args.retry_failed, args.home)
        except RolloutError as error:
            result = error.result
            complain(error, as_json=args.json)
    emit(dataclasses.asdict(result), _page(result, args.width), args)
    return {"complete": 0, "nothing-to-do": NOTHING_TO_DO}.get(result.end, INCOMPLETE)


def _is_path(text: str) -> bool:
    """Whether a text is no name of a set: these have neither dots nor slashes."""
    return "." in text or "/" in text


def read_plan(path: Path) -> "Plan":
    """Read a saved plan.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is no plan.
    """
    from prestow.fleet.document import read
    from prestow.fleet.plan import Plan

    return read(path, Plan)


def _check_plan(path: Path, saved: "Plan", chosen: Chosen) -> None:
    """Refuse a saved plan since which anything has moved."""
    from datetime import UTC, datetime

    from prefect import get_client

    from flows.rollout.applied import applied
    from flows.rollout.reports import read_reports
    from flows.rollout.workers import names
    from prestow.fleet.plan import stale

    with get_client(sync_client=True) as client:
        locked = applied(client, chosen.path, chosen.name, chosen.set).locked
        hosts = chosen.hosts(lambda: sorted(names()))
        reports = read_reports(client, hosts, datetime.now(UTC)).of
    moved = [*stale(saved, locked, reports)]
    if {host.name for host in hosts} != {host.host for host in saved.hosts}:
        moved.append("the set selects other hosts than in the plan")
    if moved:
        said = "; ".join(moved[:_TOLD]) + (f"; and {len(moved) - _TOLD} more" if len(moved) > _TOLD else "")
        raise PreconditionError(f"{path} is stale: {said}; make a new one with `prestow fleet plan --out {path}`")


def _page(result: "RolledOut", width: int | None) -> str:
    head = f"{result.image_set} · generation {result.generation}: {result.reason}"
    if result.held_back is not None:
        head += f"\ngeneration {result.held_back} is held back: `prestow fleet release {result.image_set}` lets it go"
    lacking = [host for host in result.hosts if host.verdict != "done"]
    counts = Counter(str(host.verdict) for host in result.hosts)
    head += "\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = [(host.host, str(host.verdict), str(host.attempts), host.cause) for host in lacking]
    hosts = table(("HOST", "VERDICT", "ATTEMPTS", "CAUSE"), rows, width, drop=("ATTEMPTS",))
    return f"{head}\n\n{hosts}" if rows else head
