"""Verb ``node``: this host in the fleet: its worker, its report."""

import argparse
import os
import re
from datetime import UTC, datetime

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit
from flows.cli.session import connection
from flows.cli.tables import page


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "node", status,
        help="run this host's part of the fleet: a worker that takes the host's runs, and reports",
        example="prestow node up --name gpu-01\nprestow node status",
    )  # fmt: skip
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    up = add_verb(
        parts, common, "up", run_worker,
        help="check the host, create its queue, take its runs and report, until interrupted",
        example="prestow node up --name gpu-01\nprestow node up --default-queue\nprestow node up --coordinator",
    )  # fmt: skip
    which = up.add_mutually_exclusive_group()
    _add_name(which)
    which.add_argument(
        "--coordinator", action="store_true", help="take the runs of the flow fleet instead, which direct all hosts"
    )
    up.add_argument(
        "--default-queue", action="store_true",
        help="take the runs that name no host, too, as the schedules of prune and fsck make them; for one host only",
    )  # fmt: skip
    reporting = add_verb(
        parts, common, "report", report, help="report this host once: its images, its disk, what failed",
        example="prestow node report",
    )  # fmt: skip
    _add_name(reporting)
    showing = add_verb(
        parts, common, "status", status, help="show this host's name, store, worker and last report",
        example="prestow node status --json",
    )  # fmt: skip
    _add_name(showing)


def run_worker(args: argparse.Namespace) -> int:
    """Run the worker until interrupted."""
    if args.coordinator and args.default_queue:
        args.parser.error("--default-queue is for a host; leave it out, or leave out --coordinator")
    args.words = None  # a service does not run in the warm process
    _choose(args)
    from flows.cli.node_up import run

    return run(args)


def report(args: argparse.Namespace) -> int:
    """Report once."""
    _choose(args)
    with connection(args) as api:
        from flows.rollout.reporting import publish
        from prestow.store.node import open_node

        made = publish(open_node(args.home, args.namespace))
    text = f"reported {made.host} to {api}: {len(made.images)} images, {len(made.failures)} failures"
    emit(made.model_dump(mode="json"), text, args)
    return 0


def status(args: argparse.Namespace) -> int:
    """Show the host; the exit status is 1 if its worker is not online."""
    _choose(args)
    with connection(args) as api:
        from flows.rollout.reporting import last_report
        from flows.rollout.workers import beats
        from prestow.store.node import open_node

        node, now = open_node(args.home, args.namespace), datetime.now(UTC)
        found, beat = last_report(node.host), beats().get(node.host)
        online = beat is not None and beat.is_online(now)
    document = {
        "host": node.host,
        "store": node.store_id,
        "api": api,
        "online": online,
        "heartbeat": beat and beat.at.isoformat(),
        "report": found and found.model_dump(mode="json"),
    }
    worker = "never seen; start it with `prestow node up`" if beat is None else _heard(beat.at, now)
    shown = {
        "host": node.host,
        "store": node.store_id,
        "api": api,
        "worker": f"{'online' if online else 'offline'}: {worker}",
        "last report": "none" if found is None else f"{found.at:%Y-%m-%d %H:%M:%S} UTC, of store {found.store}",
    }
    emit(document, page(shown, args.width), args)
    return 0 if online else 1


def _heard(at: datetime, now: datetime) -> str:
    return f"heartbeat {max(0, (now - at).total_seconds()):.0f} s ago"


def _add_name(verb: "argparse._ActionsContainer") -> None:
    verb.add_argument(
        "--name",
        metavar="HOST",
        type=_name,
        help="name of this host in the fleet (default: node_name, or its hostname)",
    )


def _name(text: str) -> str:
    from config.settings import HOST_NAME

    if not re.fullmatch(HOST_NAME, text):
        raise argparse.ArgumentTypeError(
            f"expected small letters, digits, . and -, as gpu-01.example, at most 63; found {text!r}"
        )
    return text


def _choose(args: argparse.Namespace) -> None:
    """Let the name count for this process, and the runs that it starts."""
    if getattr(args, "name", None):
        os.environ["PRESTOW_NODE_NAME"] = args.name
