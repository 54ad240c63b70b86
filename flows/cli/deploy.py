"""Verb ``deploy``: make the work pool and the deployments of ``deployments/prefect.yaml`` at the Prefect API.

Doing it again brings them up to date with the code, and leaves alone what people have set in the UI.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from flows.cli.arguments import Parser, Verbs, add_verb, folder
from flows.cli.output import emit, say
from flows.cli.session import connection
from flows.cli.tables import fit, table

_WORKERS = """\
a worker takes the runs of its own queue:
  prestow node up                  on each host; on one of them with --default-queue, for runs that name no host
  prestow node up --coordinator    on one machine, for the runs of fleet"""


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "deploy", run,
        help="create or update the work pool and the deployments through the Prefect API",
        example="prestow deploy\nprestow deploy --fleet /etc/prestow/fleet.yaml",
    )  # fmt: skip
    verb.add_argument(
        "--fleet", metavar="FILE", type=folder,
        help="also a deployment with a schedule for each image set of this fleet file that has one",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Deploy."""
    from prestow.project import root

    project = root()
    file = None if args.fleet is None else Path(args.fleet).resolve()
    with connection(args) as api:
        from prefect import get_client

        from flows.deploying import deploy
        from flows.rollout.schedules import entries, gone

        sets = () if file is None else tuple(entries(file))
        deployments = deploy(project, sets)
        if file is not None:
            with get_client(sync_client=True) as client:
                for each in gone(client, file, {entry["name"] for entry in sets}):
                    client.delete_deployment(each.id)
                    say(f"prestow: deployment fleet/{each.name} was removed: {file} has no schedule for it any more")
    rows = [(d.name, "created" if d.created else "up to date", d.pool, ", ".join(d.active) or "-") for d in deployments]
    text = table(("DEPLOYMENT", "STATE", "POOL", "ACTIVE SCHEDULES"), rows, args.width, drop=("POOL", "STATE"))
    document = {"api": api, "project": str(project), "deployments": [asdict(d) for d in deployments]}
    emit(document, f"{text}\n\n" + fit(f"at {api}; {_WORKERS}", args.width), args)
    return 0
