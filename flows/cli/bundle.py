"""Verb ``bundle``: run the flow ``bundle`` from the terminal."""

import argparse
import dataclasses
import os

from flows.cli.arguments import (
    Parser,
    Verbs,
    add_credentials,
    add_driver,
    add_platform,
    add_pull,
    add_verb,
    container_id,
    folder,
    source,
)
from flows.cli.output import emit, say
from flows.cli.session import session


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "bundle", run,
        help="create an OCI runtime bundle from an image: config.json and rootfs",
        example="prestow bundle alpine:3.20 /run/demo\nprestow bundle alpine:3.20 ./demo --copy --pull missing",
    )  # fmt: skip
    verb.add_argument("reference", metavar="REF", type=source, help="name of an image in the store")
    verb.add_argument("directory", metavar="DIR", type=folder, help="directory of the bundle; new or empty")
    verb.add_argument("--id", "--name", metavar="ID", type=container_id, help="container ID (default: a random one)")
    verb.add_argument("--copy", action="store_true", help="create rootfs as a full copy instead of a mount")
    add_pull(verb, "never")
    add_platform(verb)
    add_credentials(verb)
    add_driver(verb)


def run(args: argparse.Namespace) -> int:
    """Make the bundle, with progress on standard error."""
    with session(args):
        from flows.bundle import bundle

        made = bundle(
            args.reference,
            os.path.abspath(args.directory),  # noqa: PTH100 - a text for a parameter, not yet a path
            id=args.id,
            copied=args.copy,
            pull=args.pull,
            platform=args.platform,
            driver=args.driver,
            home=args.home,
            namespace=args.namespace,
            credentials=args.credentials,
        )
    for warning in made.warnings:
        say(f"warning: {warning}")
    text = f"{made.directory}: container {made.id}, rootfs by {made.driver}"
    emit(dataclasses.asdict(made), text, args, short=made.id)
    return 0
