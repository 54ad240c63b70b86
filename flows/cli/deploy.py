"""Verb ``deploy``: make the work pool and the deployments of ``deployments/prefect.yaml`` at the Prefect API.

Doing it again brings them up to date with the code, and leaves alone what people have set in the UI.
"""

import argparse
from dataclasses import asdict

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit, table
from flows.cli.session import connection


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "deploy", run,
        help="create or update the work pool and the deployments through the Prefect API",
        example="prestow deploy\nprefect worker start --pool prestow",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Deploy."""
    from prestow.project import root

    project = root()
    with connection(args) as api:
        from flows.deploying import deploy

        deployments = deploy(project)
    rows = [(d.name, "created" if d.created else "up to date", d.pool, ", ".join(d.active) or "-") for d in deployments]
    text = table(("DEPLOYMENT", "STATE", "POOL", "ACTIVE SCHEDULES"), rows)
    workers = "\n".join(f"  prefect worker start --pool {pool}" for pool in sorted({d.pool for d in deployments}))
    document = {"api": api, "project": str(project), "deployments": [asdict(d) for d in deployments]}
    emit(document, f"{text}\n\nat {api}; their runs wait for a worker:\n{workers}", as_json=args.json)
    return 0
