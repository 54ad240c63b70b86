"""Verb ``logout``: remove user name and password of a registry."""

import argparse

from flows.cli.arguments import Parser, Verbs, add_verb, registry
from flows.cli.output import emit, say
from prestow.errors import NotFoundError


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "logout", run,
        help="remove the login at a registry from files and credential helpers",
        example="prestow logout registry.example",
    )  # fmt: skip
    verb.add_argument(
        "registry", metavar="REGISTRY", nargs="?", type=registry, default="docker.io",
        help="domain of the registry (default: %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Remove the login, and say where it was."""
    from prestow.registry.login import erase_login
    from prestow.store.node import open_node

    files = open_node(args.home, args.namespace).credential_files
    before = files.find(args.registry, "")
    erased = erase_login(files, args.registry)
    if before is None and not erased:
        raise NotFoundError(f"logout: there is no login for {args.registry} in {', '.join(files.places)}")
    if files.find(args.registry, "") is not None:
        say(f"warning: there is still a login for {args.registry}; see {', '.join(files.places)}")
    text = f"logged out from {args.registry}; removed from {', '.join(erased) or 'nowhere'}"
    emit({"registry": args.registry, "removed_from": erased}, text, args)
    return 0
