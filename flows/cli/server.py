"""Verb ``server``: the store's own Prefect server."""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.output import emit

if TYPE_CHECKING:
    from flows.local_server.record import Server


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "server", status,
        help="show, use or stop the Prefect server that prestow runs for this store",
        example="prestow server status\nprestow server open",
    )  # fmt: skip
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB")
    add_verb(
        parts,
        common,
        "status",
        status,
        help="show whether it runs, and its address",
        example="prestow server status --json",
    )
    add_verb(
        parts,
        common,
        "start",
        start,
        help="start it unless it runs, and wait until it answers",
        example="prestow server start",
    )
    add_verb(
        parts, common, "open", open_page,
        help="start it unless it runs, and print its address and password for a browser",
        example="prestow server open",
    )  # fmt: skip
    add_verb(
        parts, common, "env", env,
        help="start it unless it runs, and print the variables, password included, that other programs need to use it",
        example='prestow server env\neval "$(prestow server env)" && prefect deployment ls',
    )  # fmt: skip
    add_verb(parts, common, "stop", stop, help="stop it; the next flow starts it again", example="prestow server stop")


def status(args: argparse.Namespace) -> int:
    """Return whether the server runs, and where."""
    from flows.local_server import ensure

    _tell(ensure.status(Path(args.home)), args)
    return 0


def start(args: argparse.Namespace) -> int:
    """Start the server, if it does not run."""
    _tell(_ensured(args), args)
    return 0


def open_page(args: argparse.Namespace) -> int:
    """Show the address of the UI, and the login for which it asks once in each browser."""
    server = _ensured(args)
    page = server.url.removesuffix("/api")
    text = f"address  {page}\nlogin    {server.auth}"
    emit({"address": page, "login": server.auth}, text, args)
    return 0


def env(args: argparse.Namespace) -> int:
    """Print the variables of a client, for a shell to evaluate."""
    from flows.local_server import ensure
    from flows.local_server.proxies import bypass

    variables = ensure.environment(_ensured(args)) | bypass(os.environ)
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    emit(variables, exports, args)
    return 0


def stop(args: argparse.Namespace) -> int:
    """Stop the server."""
    from flows.local_server import ensure

    stopped = ensure.stop(Path(args.home))
    emit({"stopped": stopped}, "stopped" if stopped else "it was not running", args)
    return 0


def _ensured(args: argparse.Namespace) -> "Server":
    """Return the server, started if need be, once store and settings are known to be right."""
    from flows.local_server import ensure
    from prestow.store.node import open_node

    node = open_node(args.home, args.namespace)
    _ = node.settings
    return ensure.ensure(node.home)


def _tell(server: "Server | None", args: argparse.Namespace) -> None:
    document = {"running": server is not None, "url": server and server.url, "pid": server and server.pid}
    text = f"running at {server.url} (pid {server.pid})" if server else "not running; the next flow starts it"
    emit(document, text, args)
