"""Verb ``run``: run the flow ``run`` from the terminal; the exit status is the process's."""

import argparse
import dataclasses
import os
from pathlib import Path

from flows.cli.arguments import Verbs, add_driver, add_platform, add_pull, add_verb
from flows.cli.output import emit, say
from prestow.errors import RuntimeFailedError


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "run", run,
        help="run a container of an image; the exit status is its process's",
        example="prestow run --rm alpine:3.20 -- echo hello\nprestow run --env LEVEL=debug --user 1000 alpine:3.20",
    )  # fmt: skip
    verb.add_argument("reference", metavar="REF", help="image; pulled first if it is missing")
    verb.add_argument("args", metavar="ARGS", nargs="*", help="after --: the command, instead of the image's")
    verb.add_argument("--rm", action="store_true", help="remove the container when its process ended")
    verb.add_argument("--id", help="container ID (default: made up)")
    verb.add_argument("--env", metavar="K=V", action="append", default=[], help="set a variable; may be repeated")
    verb.add_argument("--user", metavar="U[:G]", help="user, by name or number")
    verb.add_argument("--cwd", metavar="D", help="working directory")
    verb.add_argument("--interactive", "-i", action="store_true", help="let the process read standard input")
    verb.add_argument("--tty", "-t", action="store_true", help="give the process a terminal")
    verb.add_argument("--read-only", action="store_true", help="make the root file system read-only")
    add_pull(verb, "missing")
    add_platform(verb)
    add_driver(verb)
    verb.set_defaults(failure=RuntimeFailedError.exit_code)


def run(args: argparse.Namespace) -> int:
    """Run the container in the foreground."""
    from flows.cli.progress import shown  # noqa: PLC0415 - keep `prestow --help` quick
    from flows.orchestration import connected  # noqa: PLC0415 - likewise

    with connected(Path(args.home), os.environ), shown():
        from flows.run import run as run_flow  # noqa: PLC0415 - Prefect, once its API is known

        ran = run_flow(
            args.reference,
            args=tuple(args.args),
            env=tuple(args.env),
            user=args.user,
            cwd=args.cwd,
            interactive=args.interactive,
            tty=args.tty,
            read_only=args.read_only,
            id=args.id,
            rm=args.rm,
            pull=args.pull,
            platform=args.platform,
            driver=args.driver,
            home=args.home,
        )
    for warning in ran.warnings:
        say(f"warning: {warning}")
    if args.json:
        emit(dataclasses.asdict(ran), "", as_json=True)
    return ran.status
