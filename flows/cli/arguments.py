"""How verbs declare themselves: help with an example each, and the options that several of them share."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name
Verb: TypeAlias = Callable[[argparse.Namespace], int]


def add_verb(
    verbs: Verbs,
    common: argparse.ArgumentParser,
    name: str,
    run: Verb,
    *,
    help: str,  # noqa: A002 - argparse's word
    example: str,
) -> argparse.ArgumentParser:
    """Declare a verb; ``run`` takes the parsed arguments and gives the exit status."""
    verb = verbs.add_parser(
        name,
        parents=[common],
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="example:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(verb=run)
    return verb


def add_driver(verb: argparse.ArgumentParser) -> None:
    """Let a verb choose the snapshotter."""
    verb.add_argument(
        "--driver",
        choices=("auto", "erofs", "overlay", "native"),
        default="auto",
        help="how unpacked layers are kept (default: what works best here)",
    )


def add_platform(verb: argparse.ArgumentParser) -> None:
    """Let a verb choose among the platforms of an image."""
    verb.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="platform of the image (default: this host's)")


def add_pull(verb: argparse.ArgumentParser, default: str) -> None:
    """Let a verb pull first."""
    verb.add_argument(
        "--pull",
        choices=("missing", "always", "never"),
        default=default,
        help=f"whether to pull the image first (default: {default})",
    )
