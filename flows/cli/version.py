"""Verb ``version``: the version of prestow, as ``--version`` prints it."""

import argparse

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit
from prestow import __version__


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    add_verb(verbs, common, "version", run, help="print the version of prestow", example="prestow version --json")


def run(args: argparse.Namespace) -> int:
    """Print the version."""
    emit({"version": __version__}, f"prestow {__version__}", args)
    return 0
