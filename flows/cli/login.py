"""Verb ``login``: keep user name and password of a registry, after it has taken them."""

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from flows.cli.arguments import Parser, Verbs, add_verb, registry
from flows.cli.output import emit, say
from prestow.errors import InvalidError

_HUB = "docker.io"
_LONGEST = 32 << 10  # bytes of a password; tokens of some clouds have several thousand


class _Refused(argparse.Action):
    """An option that is refused, whatever its value is."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse it.

        Raises:
            InvalidError: always.
        """
        raise InvalidError(
            "login: a password among the arguments is shown to every user by `ps`, and kept by the shell; "
            "pipe it in with --password-stdin"
        )


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "login", run,
        help="log in at a registry; the password comes from a prompt or from standard input",
        example="prestow login registry.example --username me\n"
        "prestow login registry.example:5000 -u me --password-stdin",
    )  # fmt: skip
    verb.add_argument(
        "registry", metavar="REGISTRY", nargs="?", type=registry, default=_HUB,
        help="domain of the registry (default: %(default)s)",
    )  # fmt: skip
    verb.add_argument("-u", "--username", metavar="USER", help="user name (default: it is asked for)")
    verb.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    verb.add_argument(
        "-p", "--password", metavar="PASSWORD", action=_Refused, help="refused: `ps` shows arguments to every user"
    )


def run(args: argparse.Namespace) -> int:
    """Check the login at the registry, keep it, and say where."""
    from prestow.registry.credentials import Credential
    from prestow.registry.login import check_login, store_login
    from prestow.store.node import open_node

    credential = Credential(_username(args), _password(args))
    node = open_node(args.home, args.namespace)
    if not check_login(node.registry_options, args.registry, credential):
        say(f"warning: {args.registry} asked for no credentials, so they were not checked")
    files = node.credential_files
    kept = store_login(files, args.registry, credential)
    if files.find(args.registry, "") != credential:
        say(f"warning: another login for {args.registry} is read first; see {', '.join(files.places)}")
    text = f"logged in at {args.registry} as {credential.username}; kept in {kept}"
    emit({"registry": args.registry, "username": credential.username, "kept": kept}, text, args)
    return 0


def _username(args: argparse.Namespace) -> str:
    """Return the user name, which is asked for at a terminal."""
    if args.username is None and args.password_stdin:
        raise InvalidError("login: standard input has the password, so name the user with --username")
    name: str = _asked("user name", _line) if args.username is None else args.username
    if not name or ":" in name or not name.isprintable():
        raise InvalidError("login: expected a user name of printable characters other than a colon")
    return name


def _password(args: argparse.Namespace) -> str:
    """Return the password; of standard input without the end of its line."""
    if args.password_stdin:
        raw = sys.stdin.buffer.read(_LONGEST + 1) if sys.stdin is not None else b""
        try:
            password = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise InvalidError("login: expected a password in UTF-8 on standard input") from None
    else:
        password = _asked("password", lambda: getpass.getpass("Password: "))
    if not password or len(password) > _LONGEST:
        raise InvalidError(f"login: expected a password of 1 to {_LONGEST} bytes")
    return password


def _asked(what: str, ask: Callable[[], str]) -> str:
    """Ask the person at the terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidError(
            f"login: there is no terminal to ask for the {what}; name the user with --username, and pipe the password "
            "in with --password-stdin"
        )
    try:
        return ask()
    except EOFError:
        raise InvalidError(f"login: no {what} was entered") from None


def _line() -> str:
    """Return a line of the person; the prompt stays out of the answer on standard output."""
    print("User name: ", end="", file=sys.stderr, flush=True)  # noqa: T201 - verbs print here
    return sys.stdin.readline().strip()
