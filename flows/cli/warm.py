"""Verb ``warm``: the process that makes this store's commands quick."""

import argparse
from pathlib import Path

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "warm", status,
        help="show or stop the process that keeps Prefect imported for the next command",
        example="prestow warm status\nprestow warm stop",
    )  # fmt: skip
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_verb(parts, common, "status", status, help="show whether it runs", example="prestow warm status --json")
    add_verb(
        parts, common, "stop", stop, help="stop it when its running commands have ended; the next flow starts it again",
        example="prestow warm stop",
    )  # fmt: skip


def status(args: argparse.Namespace) -> int:
    """Return whether the process runs."""
    from flows.warm import client

    pid = client.status(Path(args.home))
    text = "not running; the next flow starts it" if pid is None else f"running (pid {pid})"
    emit({"running": pid is not None, "pid": pid}, text, args)
    return 0


def stop(args: argparse.Namespace) -> int:
    """Stop the process."""
    from flows.warm import client

    stopped = client.stop(Path(args.home))
    emit({"stopped": stopped}, "stopped" if stopped else "it was not running", args)
    return 0
