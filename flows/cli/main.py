"""The command ``prestow``: one verb a file; this one finds the verb, runs it, and tells its failure in one sentence.

Verbs that read import only the engine; those that run a flow import Prefect inside the verb, after the API was found.
This file imports little itself, since every command waits for it: `prestow --version` needs no verb at all.
"""

import argparse
import os
from collections.abc import Sequence
from importlib import import_module

from flows.cli.arguments import Parser, folder, namespace
from flows.cli.output import complain, open_null
from flows.cli.showing import add_showing, settle
from flows.cli.verbs import ALIASES, VERBS, module_of
from prestow import __version__
from prestow.errors import CancelledError, PrestowError
from prestow.project import module

_EPILOG = """\
example:
  prestow pull docker.io/library/alpine:3.20
  prestow run --rm alpine:3.20 echo hello

`prestow inspect` and `prestow rmi` are short for `prestow images inspect` and `prestow images rm`.

PRESTOW_HOME sets the store, PRESTOW_CONFIG the settings file; `prestow doctor` lists the settings. Prefect's own \
settings, such as PREFECT_API_URL, set the Prefect API; without one, prestow starts a Prefect server for the store."""


def parser(arguments: Sequence[str] = ()) -> Parser:
    """Build the parser of the verb that the arguments name; of all verbs, if they name none and do not ask the version.

    Raises:
        InvalidError: an option before the verb is unknown.
    """
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)  # a sub-verb keeps its verb's
    common.add_argument(
        "--home", metavar="DIR", type=folder, help="directory of the store (default: PRESTOW_HOME, or the host's)"
    )
    common.add_argument(
        "--namespace",
        metavar="NS",
        type=namespace,
        help="scope of image, container and lease names; content and snapshots are shared (default: PRESTOW_NAMESPACE, "
        "or default)",
    )
    common.add_argument(
        "--cold", action="store_true", help="neither use nor start the warm process; PRESTOW_COLD=1 does the same"
    )
    add_showing(common)
    top = Parser(
        prog="prestow",
        description="Pull OCI images, create runtime bundles from them and run them; you can see, retry, stop "
        "after and resume from every step.",
        epilog=_EPILOG,
        parents=[common],
    )
    top.add_argument("--version", "-V", action="version", version=f"prestow {__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    word = next(top.positionals(arguments), "")
    named = ALIASES.get(word, word)
    asked = not word and not {"--version", "-V"}.isdisjoint(arguments)
    for verb in [named] if named in VERBS else () if asked else VERBS:
        import_module(module(module_of(verb))).add(verbs, common)
    return top


def main(arguments: Sequence[str], *, here: bool = False) -> int:
    """Run one command; the result is the exit status. With ``here``, all of it happens in this process."""
    _open_standard_streams()
    as_json = "--json" in arguments  # as far as is known before they are parsed
    try:
        args = _parsed(arguments, here=here)
        as_json = args.json
        status: int = args.verb(args)
    except PrestowError as error:
        complain(error, as_json=as_json)
        status = error.exit_code
    except KeyboardInterrupt:
        complain(CancelledError("interrupted"), as_json=as_json)
        status = CancelledError.exit_code
    except BrokenPipeError:  # the reader of our output has seen enough
        with open_null() as null:
            os.dup2(null, 1)
        status = 0
    return status


def _parsed(arguments: Sequence[str], *, here: bool) -> argparse.Namespace:
    """Parse the arguments, and fill in what stands for the whole process."""
    if arguments[:1] == ["help"]:  # as git and docker have it
        arguments = [*arguments[1:], "--help"]
    args, unknown = parser(arguments).parse_known_args(arguments)
    if unknown:
        args.parser.error(f"unknown argument {' '.join(unknown)}")
    from config.home import cold, home_or_default, namespace_or_default
    from prestow.metadata.namespace import check_namespace

    args.home = home_or_default(getattr(args, "home", None))
    args.namespace = check_namespace(namespace_or_default(getattr(args, "namespace", None)))
    settle(args)
    args.words = None if here or getattr(args, "cold", False) or cold() else tuple(arguments)
    return args


def _open_standard_streams() -> None:
    """Open those that are closed: the next file that is opened would get their numbers, and what we say."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
