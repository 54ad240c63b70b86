"""Sub-verb ``fleet lock``: resolve the references of a fleet file, once for all hosts."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.fleet_arguments import add_file, fleet_path, pool, read_file, read_lock
from flows.cli.output import emit, say
from flows.cli.tables import table
from prestow.errors import NotFoundError

if TYPE_CHECKING:
    from prestow.fleet.file import FleetFile, Host
    from prestow.fleet.lock import Lock
    from prestow.fleet.resolution import Change, Target


def add(parts: Verbs, common: Parser) -> None:
    """Declare the sub-verb."""
    verb = add_verb(
        parts, common, "lock", run,
        help="resolve the images of a fleet file to digests, and write them into the lock beside it",
        example="prestow fleet lock\nprestow fleet lock --check\nprestow fleet lock --update redis:7.2",
    )  # fmt: skip
    add_file(verb)
    ways = verb.add_mutually_exclusive_group()
    ways.add_argument(
        "--check", action="store_true",
        help="write nothing; print which references have moved, and exit with status 1 if any has, or if the lock does "
        "not fit the fleet file",
    )  # fmt: skip
    ways.add_argument(
        "--update", metavar="REF", nargs="*",
        help="resolve these references of the file again, or all if none is named (default: resolve only references "
        "that are not locked yet)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Lock, or check the lock."""
    from flows.rollout.inventory import read_hosts
    from flows.rollout.locking import Registries
    from prestow.content.disk import replace_file, translated
    from prestow.fleet.lock import lock_path
    from prestow.fleet.resolution import changes, check, relock
    from prestow.store.node import open_node

    path = fleet_path(args)
    file, former = read_file(path), _former(path)
    platforms = _platforms(file, read_hosts(path, file, pool(args)))
    node = open_node(args.home, args.namespace)
    registries = Registries(node, say)
    if args.check:
        found = check(file, platforms, former, registries)
        _show(args, path, found, former, former, written=False)
        return 1 if found else 0
    move = None if args.update == [] else args.update or ()
    lock = relock(file, platforms, former, registries, move)
    written = lock != former or not lock_path(path).exists()
    if written:
        with translated(f"writing {lock_path(path)}"):
            replace_file(lock_path(path), lock.text().encode())
    _show(args, path, changes(former, lock), former, lock, written=written)
    return 0


def _former(path: Path) -> "Lock":
    from prestow.fleet.lock import Lock

    try:
        return read_lock(path)
    except NotFoundError:
        return Lock()


def _platforms(file: "FleetFile", hosts: "Sequence[Host]") -> dict[str, tuple[str, ...]]:
    """Return the platforms of each set's hosts, and say which ones are taken for hosts that name none."""
    from prestow.fleet.select import select
    from prestow.platforms import host

    own, found = str(host()), {}
    for name, image_set in sorted(file.sets.items()):
        selected = select(name, image_set.hosts, hosts)
        found[name] = tuple(sorted({each.platform or own for each in selected}))
        silent = sum(each.platform is None for each in selected)
        note = f"; {silent} of them name no platform, for which this host's, {own}, is taken" if silent else ""
        say(f"image set {name}: {len(selected)} hosts, for {', '.join(found[name])}{note}")
    return found


def _show(
    args: argparse.Namespace, path: Path, found: "Sequence[Change]", former: "Lock", lock: "Lock", *, written: bool
) -> None:
    from prestow.fleet.lock import lock_path

    document = {
        "file": str(path),
        "lock": str(lock_path(path)),
        "written": written,
        "generations": {name: each.generation for name, each in sorted(lock.sets.items())},
        "changes": [
            {
                "set": each.set,
                "reference": each.reference or None,
                "change": each.kind,
                "before": _record(each.before),
                "after": _record(each.after),
            }
            for each in found
        ],
    }
    emit(document, _page(document, former, args.width), args)


def _record(target: "Target | None") -> dict[str, str] | None:
    return None if target is None else {"name": target.name, "digest": target.digest}


def _page(document: Mapping[str, Any], former: "Lock", width: int | None) -> str:
    """Lay out what changed."""
    if not document["changes"]:
        return f"{document['lock']} is up to date"
    rows = [
        (
            each["set"],
            _generation(former, each["set"], document["generations"].get(each["set"])),
            each["reference"] or "-",
            each["change"],
            _shown(each["before"]),
            _shown(each["after"]),
        )
        for each in document["changes"]
    ]
    return table(
        ("SET", "GENERATION", "IMAGE", "CHANGE", "FROM", "TO"), rows, width, drop=("GENERATION", "SET", "FROM")
    )


def _generation(former: "Lock", name: str, now: int | None) -> str:
    before = former.sets[name].generation if name in former.sets else None
    return f"{before or '-'}" if before == now else f"{before or '-'} -> {now or '-'}"


def _shown(target: Mapping[str, str] | None) -> str:
    """Return a target as its tag and digest."""
    if target is None:
        return "-"
    tag = target["name"].partition("@")[0].rpartition("/")[2].partition(":")[2]
    return f"{tag} {target['digest']}".lstrip()
