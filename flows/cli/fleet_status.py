"""Sub-verb ``fleet status``: which images are on which hosts, by what the hosts report."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import add_file, add_set, choose
from flows.cli.output import emit, say, size
from flows.cli.session import connection
from flows.cli.tables import fit, page, table

if TYPE_CHECKING:
    from prestow.fleet.status import HostStatus, Status

NOT_CONVERGED = 22
"""Exit status: an image is missing on a host, or a host is unknown."""


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "status", show,
        help="show which images are on which hosts, by their reports; exit status 22 unless all are everywhere",
        example="prestow fleet status nightly\nprestow fleet status --host gpu-01",
    )  # fmt: skip
    add_set(verb)
    add_file(verb)
    verb.add_argument("--host", metavar="NAME", help="only this host, with each of its images")


def show(args: argparse.Namespace) -> int:
    """Show the status."""
    from prestow.errors import NotFoundError, printable
    from prestow.fleet.plan import plan
    from prestow.fleet.polling import HEARTBEAT_SECONDS, absence
    from prestow.fleet.status import status

    chosen, workers = choose(args), {}
    with connection(args):
        from contextlib import suppress
        from datetime import UTC, datetime

        from prefect import get_client

        from flows.rollout.applied import applied
        from flows.rollout.reports import read_reports
        from flows.rollout.workers import beats, names

        with get_client(sync_client=True) as client:
            found = applied(client, chosen.path, chosen.name, chosen.set)
            hosts = chosen.hosts(lambda: sorted(names()))
            if args.host is not None:
                hosts = tuple(host for host in hosts if host.name == args.host)
            if not hosts:
                raise NotFoundError(
                    f"host {printable(args.host)}: not of image set {chosen.name}; "
                    f"run `prestow fleet hosts {chosen.name}` to list those that are"
                )
            now = datetime.now(UTC)
            reports = read_reports(client, hosts, now)
        with suppress(NotFoundError):  # without the pool there are no workers
            workers = {name: beat.at for name, beat in beats().items()}
    for warning in reports.warnings:
        say(f"prestow: {warning}")
    planned = plan(chosen.name, chosen.set, found.locked, hosts, reports.of, now, None)
    why = {host.host: host.reason for host in planned.of_state("refused")}
    why |= {host.name: gone for host in hosts if (gone := absence(host.name, workers, HEARTBEAT_SECONDS, now))}
    wanted = chosen.set.hand_over
    made = status(chosen.name, found.locked, hosts, reports.of, now, found.hold, wanted).explained(why)
    document = made.model_dump(mode="json") | {"converged": made.has_converged, "held_back": found.held_back}
    text = (
        _of_set(made, found.held_back, args.width) if args.host is None else _of_host(made, made.hosts[0], args.width)
    )
    emit(document, text, args)
    return 0 if made.has_converged else NOT_CONVERGED


def _of_set(made: "Status", held_back: int | None, width: int | None) -> str:
    """Lay out the matrix of a small fleet, and of each the hosts that lack something."""
    from prestow.errors import printable

    ready = made.count("ready")
    head = f"{made.set} · generation {made.generation}: {ready} of {len(made.hosts)} hosts have all images"
    if made.hold is not None:
        back = "" if held_back is None else f" and holds generation {held_back} back"
        why = f" ({printable(made.hold.reason)})" if made.hold.reason else ""
        head += f"\na rollback of {made.hold.since:%Y-%m-%d %H:%M} UTC is in force{back}{why}; "
        head += f"`prestow fleet release {made.set}` ends it"
    images = table(
        ("NO.", "IMAGE", "DIGEST", "VERIFIED", "MISSING", "UNKNOWN"),
        [
            (number, image.name, image.digest, image.present, image.missing, image.unknown)
            for number, image in enumerate(made.images, 1)
        ],
        width,
        drop=("DIGEST", "UNKNOWN"),
    )
    lacking = [(host.host, host.state, _age(host), _generation(host), _why(host)) for host in made.lacking]
    header = ("HOST", "STATE", "REPORT", "GENERATION", "WHY, AND WHAT TO DO")
    parts = [
        fit(head, width), images, _matrix(made, width),
        table(header, lacking, width, drop=("GENERATION", "REPORT", "STATE")) if lacking else "",
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts))


def _matrix(made: "Status", width: int | None) -> str:
    """Return each image on each host, and what the signs mean; nothing where it is too wide, or the fleet too large."""
    from flows.forms.fleet_page import MATRIX, legend, matrix

    rows, signs = matrix(made), legend(made)
    if len(made.hosts) > MATRIX or (width is not None and max(map(len, rows.splitlines())) > width):
        return ""
    in_one = "   ".join(signs)
    return f"{rows}\n\n" + (in_one if width is None or len(in_one) <= width else "\n".join(signs))


def _of_host(made: "Status", host: "HostStatus", width: int | None) -> str:
    """Lay out each image of one host."""
    free = "unknown" if host.free_bytes is None else size(host.free_bytes)
    entries = {"host": host.host, "state": host.state, "report": _age(host), "generation": _generation(host)}
    head = page(entries | {"free": free} | ({"why": _why(host)} if host.cause else {}), width)
    rows = [(image.name, image.digest, cell) for image, cell in zip(made.images, host.images, strict=True)]
    images = table(("IMAGE", "DIGEST", "STATE"), rows, width, drop=("DIGEST",))
    return f"{head}\n\n{images}"


def _age(host: "HostStatus") -> str:
    from prestow.fleet.plan import age

    return "never" if host.seconds is None else f"{age(host.seconds)} ago"


def _generation(host: "HostStatus") -> str:
    return "-" if host.generation is None else str(host.generation)


def _why(host: "HostStatus") -> str:
    return f"{host.cause}; {host.remedy}"
