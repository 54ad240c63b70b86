"""The command ``prestow``: one verb a file; this one finds the verb, runs it, and tells its failure in one sentence.

Verbs that read import only the engine; those that run a flow import Prefect inside the verb, after the API was found.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from config.home import home_or_default
from flows.cli import (
    bundle,
    containers,
    deploy,
    doctor,
    images,
    prepull,
    prune,
    pull,
    run,
    serve,
    server,
    snapshots,
)
from flows.cli.output import say
from prestow import __version__
from prestow.errors import PrestowError

VERBS: tuple[ModuleType, ...] = (
    pull, bundle, run, prepull, images, snapshots, containers, prune, doctor, serve, deploy, server,
)  # fmt: skip

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Build the parser of all verbs."""
    top = argparse.ArgumentParser(
        prog="prestow",
        description="Pull OCI images and make runtime bundles from them, every step a lifecycle point.",
        epilog="example:\n  prestow pull docker.io/library/alpine:3.20\n  prestow run alpine:3.20 -- echo hello",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"prestow {__version__}")
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)  # a sub-verb keeps its verb's
    common.add_argument("--home", metavar="DIR", help="folder of the store (default: PRESTOW_HOME, or the host's)")
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add(verbs, common)
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; the result is the exit status."""
    args = parser().parse_args(arguments)
    args.home = home_or_default(getattr(args, "home", None))
    args.json = getattr(args, "json", False)
    try:
        status: int = args.verb(args)
    except PrestowError as error:
        say(f"prestow: {error}")
        status = getattr(args, "failure", None) or error.exit_code
    except KeyboardInterrupt:
        say("prestow: interrupted; run the same command again to go on")
        status = _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = None
        status = 0
    return status
