"""How verbs declare themselves: help with an example each, and the arguments that several of them share.

What an argument says is checked by the engine's own grammar while it is parsed, so that a slip of the pen costs a
person one line and no waiting; a complaint about arguments is an error like any other.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from config.drivers import DRIVER_CHOICES
from flows.cli import parsing

if TYPE_CHECKING:
    from config.runtimes import RuntimeChoice

Parser: TypeAlias = parsing.Parser
Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - it has no public name
Verb: TypeAlias = Callable[[argparse.Namespace], int]

_LONGEST = 24 * 3600
_MOST_AT_ONCE = 32


def add_verb(
    verbs: Verbs,
    common: Parser,
    name: str,
    run: Verb | None,
    *,
    help: str,  # noqa: A002 - argparse's word
    example: str,
    aliases: Sequence[str] = (),
    singular: str = "",
    listed: bool = True,
) -> Parser:
    """Declare a verb; ``run`` takes the parsed arguments and returns the exit status; None: a sub-verb must follow.

    Its ``singular`` is understood, too, and the help does not mention it.

    A verb that is not listed is another name of one that is: the list of verbs in the help does not have it.
    """
    texts: dict[str, Any] = {
        **({"help": help} if listed else {}),
        "description": help[0].upper() + help[1:] + ".",
        "epilog": "example:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
    }
    verb = verbs.add_parser(name, aliases=aliases, parents=[common], **texts)
    verb.set_defaults(verb=run, parser=verb)
    if singular:
        verbs._name_parser_map[singular] = verb  # noqa: SLF001 - an alias would be listed
    return verb


def add_ls(parts: Verbs, common: Parser, what: str, show: Verb, options: Callable[[Parser], None]) -> None:
    """Declare the sub-verb ``ls`` of a verb that lists without one, with its options; they may stand before it, too."""
    ls = add_verb(
        parts, common, "ls", show,
        help=f"list the {what} of this store, as without a sub-verb", example=f"prestow {what} ls", aliases=["list"],
    )  # fmt: skip
    options(ls)
    ls.keep_outer_values()


def add_driver(verb: argparse.ArgumentParser) -> None:
    """Let a verb choose the snapshotter."""
    verb.add_argument(
        "--driver",
        choices=DRIVER_CHOICES,
        default="auto",
        help="how unpacked images are stored (default: the best that works here)",
    )


def add_everywhere(verb: argparse.ArgumentParser) -> None:
    """Let a verb list what all namespaces have."""
    verb.add_argument(
        "--all-namespaces", action="store_true", help="list those of all namespaces, with a column for the namespace"
    )


def add_platform(verb: argparse.ArgumentParser) -> None:
    """Let a verb choose among the platforms of an image."""
    verb.add_argument(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        type=platform,
        help="platform of the image (default: this host's)",
    )


def add_pull(verb: argparse.ArgumentParser, default: str) -> None:
    """Let a verb pull first."""
    verb.add_argument(
        "--pull",
        choices=("missing", "always", "never"),
        default=default,
        help=f"when to pull the image first (default: {default})",
    )


def add_hand_over(verb: argparse.ArgumentParser) -> None:
    """Let a verb that pulls hand over to a runtime of the host, too."""
    verb.add_argument(
        "--hand-over",
        action=argparse.BooleanOptionalAction,
        help="hand the image over to the container runtime of this host, which then need not pull it "
        "(default: the setting hand_over)",
    )
    add_pin(verb)


def hand_over_to(args: argparse.Namespace) -> "RuntimeChoice | None":
    """Return the runtime that was chosen; None leaves it to the setting."""
    return None if args.hand_over is None else "auto" if args.hand_over else "none"


def add_pin(verb: argparse.ArgumentParser) -> None:
    """Let a verb pin what it hands over."""
    verb.add_argument("--pin", action="store_true", help="let the runtime's garbage collection never remove the image")


def add_runtime(verb: argparse.ArgumentParser, meaning: str) -> None:
    """Let a verb choose a runtime of the host."""
    from config.runtimes import RUNTIME_CHOICES

    verb.add_argument(
        "--runtime",
        choices=[choice for choice in RUNTIME_CHOICES if choice != "none"],
        default="auto",
        help=f"{meaning} (default: the one that the setting hand_over names, or that is there)",
    )


def add_unpack(verb: argparse.ArgumentParser) -> None:
    """Let a verb store what it pulls without unpacking it."""
    verb.add_argument(
        "--no-unpack",
        dest="unpack",
        action="store_false",
        help="store and tag it as it is, without unpacking: artifacts of any kind, and images to unpack later",
    )


def _checked(text: str, parse: Callable[[str], object]) -> str:
    """Return a text as it is if ``parse`` takes it."""
    parse(text)
    return text


def platform(text: str) -> str:
    """Check a platform."""
    from prestow.platforms import platform_or_host

    return _checked(text, platform_or_host)


def source(text: str) -> str:
    """Check what names an image: a reference, or a layout on disk."""
    from prestow.reference import parse_source

    return _checked(text, parse_source)


def image_name(text: str) -> str:
    """Check a name for the store."""
    from prestow.reference import Reference

    return _checked(text, Reference.parse)


def registry(text: str) -> str:
    """Check the domain of a registry, ``host[:port]``."""
    from prestow.reference import is_domain

    if not is_domain(text):
        raise argparse.ArgumentTypeError(f"expected the domain of a registry, such as docker.io, found {text!r}")
    return text


def namespace(text: str) -> str:
    """Check the name of a namespace."""
    from prestow.metadata.namespace import check_namespace

    return _checked(text, check_namespace)


def secret(text: str) -> str:
    """Check where a secret comes from; a file is named from the root, since a record of the run tells of it."""
    from flows.variables import check_reference

    name, _, path = _checked(text, check_reference).partition("=file:")
    return f"{name}=file:{os.path.abspath(path)}" if path else text  # noqa: PTH100 - a text for a parameter


def add_credentials(verb: argparse.ArgumentParser) -> None:
    """Let a verb name the credentials of a registry."""
    verb.add_argument(
        "--credentials", metavar="block:NAME", type=credentials,
        help="the Prefect block with the registry's credentials (default: the login of podman or docker)",
    )  # fmt: skip


def credentials(text: str) -> str:
    """Check the name of credentials."""
    from prestow.registry.credentials import check_name

    return _checked(text, check_name)


def container_id(text: str) -> str:
    """Check the ID for a new container."""
    from prestow.runtime.bundle import check_container_id

    return _checked(text, check_container_id)


def folder(text: str) -> str:
    """Check a directory's name: an empty one is a variable that was not set, not the current directory."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("expected the name of a directory")
    return text


def count(text: str) -> int:
    """Check how many images may be handled at the same time."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_AT_ONCE):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_AT_ONCE}, found {text!r}")
    return int(text)


def seconds(text: str) -> int:
    """Check how long something may take."""
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= _LONGEST):
        raise argparse.ArgumentTypeError(f"expected seconds, from 0 to {_LONGEST}, found {text!r}")
    return int(text)
