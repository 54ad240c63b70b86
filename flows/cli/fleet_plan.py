"""Sub-verb ``fleet plan``: what an apply would do on each host; nothing is changed."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_apply import NOTHING_TO_DO, read_plan
from flows.cli.fleet_arguments import Chosen, add_file, add_set, choose
from flows.cli.output import emit, say, size
from flows.cli.session import connection
from flows.cli.tables import fit, table
from prestow.errors import PreconditionError, printable

if TYPE_CHECKING:
    from prestow.fleet.lock import LockedSet
    from prestow.fleet.plan import HostPlan, Plan
    from prestow.fleet.report import Report

REFUSED = 21
"""Exit status: the plan refuses a host."""

_SHORT = 19  # characters of a digest
_NAMED = 5  # hosts with the same reason


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "plan", run,
        help="show what an apply would do on each host: bytes to fetch, disk afterwards, time; exit status 20 if "
        "nothing is to be done, 21 if a host is refused",
        example="prestow fleet plan nightly\nprestow fleet plan --out plan.json\nprestow fleet plan --show plan.json",
    )  # fmt: skip
    add_set(verb)
    add_file(verb)
    either = verb.add_mutually_exclusive_group()
    either.add_argument("--out", metavar="FILE", type=Path, help="write the plan there, for `fleet apply FILE`")
    either.add_argument(
        "--show", metavar="FILE", type=Path, help="show the plan that was written there, and warn of what has moved"
    )


def run(args: argparse.Namespace) -> int:
    """Make a plan, or show one."""
    from prestow.fleet.plan import stale

    saved = None if args.show is None else read_plan(args.show)
    if saved is not None:
        if args.set not in (None, saved.set):
            raise PreconditionError(f"{args.show} is a plan of {saved.set}, not of {printable(args.set)}: name no set")
        args.set = saved.set
    chosen = choose(args)
    made, locked, reports = _made(args, chosen)
    if saved is not None:
        for moved in stale(saved, locked, reports):
            say(f"prestow: {args.show} is stale: {moved}")
        made = saved
    if args.out is not None:
        _write(args.out, made)
    emit(made.model_dump(mode="json"), _page(made, args.width), args)
    return REFUSED if made.of_state("refused") else NOTHING_TO_DO if made.is_nothing_to_do else 0


def _made(args: argparse.Namespace, chosen: Chosen) -> "tuple[Plan, LockedSet, dict[str, Report]]":
    """Plan now; return what it was made from as well."""
    with connection(args):
        from datetime import UTC, datetime

        from prefect import get_client

        from flows.rollout.applied import applied, before
        from flows.rollout.reports import read_reports
        from flows.rollout.workers import names
        from prestow.fleet.plan import plan

        with get_client(sync_client=True) as client:
            found = applied(client, chosen.path, chosen.name, chosen.set)
            hosts = chosen.hosts(lambda: sorted(names()))
            now = datetime.now(UTC)
            reports = read_reports(client, hosts, now)
            earlier = before(client, chosen.name, found.locked)
    for warning in reports.warnings:
        say(f"prestow: {warning}")
    if found.hold is not None:
        say(f"prestow: a rollback to generation {found.hold.generation} holds; `prestow fleet release {chosen.name}`")
    made = plan(chosen.name, chosen.set, found.locked, hosts, reports.of, now, earlier)
    return made, found.locked, dict(reports.of)


def _write(path: Path, made: "Plan") -> None:
    """Write a plan, completely or not at all."""
    from prestow.content.disk import replace_file, translated

    with translated(f"writing {path}"):
        replace_file(path, f"{made.model_dump_json(indent=1)}\n".encode())


def _page(made: "Plan", width: int | None) -> str:
    header = ("HOST", "STATE", "IMAGES", "LAYERS", "FETCH", "DISK AFTER", "TIME", "REMOVES")
    why: dict[str, list[str]] = {}
    for host in made.hosts:
        if host.reason:
            why.setdefault(host.reason, []).append(host.host)
    reasons = [f"{_listed(hosts)}: {reason}" for reason, hosts in why.items()]
    rows = [_row(host) for host in made.hosts]
    hosts = table(header, rows, width, drop=("LAYERS", "IMAGES", "REMOVES", "TIME", "DISK AFTER"))
    parts = [hosts, fit("\n".join(reasons), width), fit("\n".join(_totals(made)), width)]
    return "\n\n".join(filter(None, parts))


def _listed(hosts: list[str]) -> str:
    more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    return ", ".join(hosts[:_NAMED]) + more


def _row(host: "HostPlan") -> tuple[str, ...]:
    from flows.forms.figures import duration

    if host.state == "unknown":
        return (host.host, host.state, *["-"] * 6)
    return (
        host.host,
        host.state,
        str(len(host.images)),
        str(host.layers),
        size(host.fetch_bytes),
        "-" if host.disk_after is None else size(host.disk_after) if host.disk_after > 0 else "0 B",
        "?" if host.seconds is None else duration(host.seconds),
        str(len(host.removes)),
    )


def _totals(made: "Plan") -> Iterator[str]:
    states = Counter(host.state for host in made.hosts)
    hosts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    yield f"{made.set} · generation {made.generation}: {len(made.hosts)} hosts, {hosts}"
    yield f"from the registry: {size(made.egress_bytes)}; through a mirror: {size(made.egress_with_mirror)}"
    for change in made.changes:
        if change.before is None:
            yield f"added    {_exact(change.after)}"
        elif change.after is None:
            yield f"removed  {_exact(change.before)}"
        else:
            yield f"moved    {_exact(change.before)} -> {_exact(change.after)}"


def _exact(text: str | None) -> str:
    name, _, digest = str(text).partition("@")
    return f"{name}@{digest[:_SHORT]}"
