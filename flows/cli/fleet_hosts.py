"""Sub-verb ``fleet hosts``: the hosts of a fleet, and which image sets select them."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import add_file, fleet_path, pool, read_file
from flows.cli.output import emit
from flows.cli.tables import table

if TYPE_CHECKING:
    from prestow.fleet.file import Host


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "hosts", show,
        help="list the hosts of a fleet, with their labels and the image sets that select them",
        example="prestow fleet hosts\nprestow fleet hosts nightly --json",
    )  # fmt: skip
    verb.add_argument("set", metavar="SET", nargs="?", help="only the hosts of this image set (default: all hosts)")
    add_file(verb)


def show(args: argparse.Namespace) -> int:
    """List hosts."""
    from flows.rollout.inventory import read_hosts
    from prestow.fleet.select import choose_set, matches, select

    path = fleet_path(args)
    file = read_file(path)
    hosts = read_hosts(path, file, pool(args))
    if args.set is not None:
        name = choose_set(file, args.set)
        hosts = select(name, file.sets[name].hosts, hosts)
    found = [(host, sorted(name for name, each in file.sets.items() if matches(each.hosts, host))) for host in hosts]
    document = [
        {"name": host.name, "labels": dict(sorted(host.labels.items())), "platform": host.platform, "sets": sets}
        for host, sets in found
    ]
    rows = [(host.name, _labels(host), host.platform or "-", ", ".join(sets) or "-") for host, sets in found]
    text = table(("HOST", "LABELS", "PLATFORM", "SETS"), rows, args.width, drop=("PLATFORM", "LABELS"))
    emit(document, text, args)
    return 0


def _labels(host: "Host") -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(host.labels.items())) or "-"
