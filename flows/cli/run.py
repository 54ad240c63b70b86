"""Verb ``run``: run the flow ``run`` from the terminal; the exit status is the process's."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, cast

from flows.cli.arguments import (
    Parser,
    Verbs,
    add_credentials,
    add_driver,
    add_platform,
    add_pull,
    add_verb,
    container_id,
    secret,
    source,
)
from flows.cli.output import emit, say
from flows.cli.session import session
from prestow.errors import ContainerFailedError, PrestowError, RuntimeFailedError

if TYPE_CHECKING:
    from flows.forms.results import Ran


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "run", run,
        help="run a container of an image, with its own command or CMD; exits with the status of its process",
        example="prestow run --rm alpine:3.20 echo hello\nprestow run --rm -it -e LEVEL=debug -w /srv alpine:3.20 sh\n"
        "prestow run --secret DB_PASSWORD=file:/run/secrets/db alpine:3.20",
    )  # fmt: skip
    verb.add_argument("reference", metavar="REF", type=source, help="image reference; pulled first if it is missing")
    command = verb.add_argument(
        "args", metavar="CMD", nargs=argparse.REMAINDER,
        help="command and its arguments, in place of the image's; options from here on are its own",
    )  # fmt: skip
    command.required = False  # older argparse wants a word at least
    verb.add_argument("--rm", action="store_true", help="remove the container when its process ends")
    verb.add_argument("--id", "--name", metavar="ID", type=container_id, help="container ID (default: a random one)")
    verb.add_argument(
        "--env", "-e", metavar="NAME[=VALUE]", action="append", default=[],
        help="set a variable; without VALUE, copy it from this environment; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--secret", metavar="NAME[=SOURCE]", action="append", default=[], type=secret,
        help="set a variable without recording its value; SOURCE is env:VARIABLE, file:PATH or block:BLOCK (a Prefect "
        "Secret block), by default the variable of that name here; may be repeated",
    )  # fmt: skip
    verb.add_argument("--user", "-u", metavar="U[:G]", help="user and group, by name or number")
    verb.add_argument("--cwd", "-w", "--workdir", metavar="DIR", help="working directory")
    verb.add_argument("--interactive", "-i", action="store_true", help="let the process read standard input")
    verb.add_argument("--tty", "-t", action="store_true", help="give the process a terminal")
    verb.add_argument("--read-only", action="store_true", help="make the root file system read-only")
    add_pull(verb, "missing")
    add_platform(verb)
    add_credentials(verb)
    add_driver(verb)
    verb.usage = "%(prog)s [OPTIONS] REF [CMD ...]"
    verb.failure = RuntimeFailedError


def run(args: argparse.Namespace) -> int:
    """Run the container in the foreground; whatever fails before its process, fails with the runtime's status."""
    try:
        try:
            ran = _ran(args)
        except ContainerFailedError as error:  # the process has said what it had to say
            ran = cast("Ran", error.ran)
        for warning in ran.warnings:
            say(f"warning: {warning}")
        emit(dataclasses.asdict(ran), "", args)
    except PrestowError as error:
        raise RuntimeFailedError(str(error)) from error
    return ran.status


def _ran(args: argparse.Namespace) -> "Ran":
    with session(args, announce=None):  # nothing but the container is heard where its image is here
        from flows.run import run as run_flow

        return run_flow(
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
            namespace=args.namespace,
            secrets=tuple(args.secret),
            credentials=args.credentials,
        )
