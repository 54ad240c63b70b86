"""Verb ``doctor``: what works here, what does not, and what to do about it; and all settings."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.cli.arguments import Parser, Verbs, add_verb, registry
from flows.cli.output import emit
from flows.cli.tables import fit, table

if TYPE_CHECKING:
    from flows.cli.checks import Finding

_HOW = (
    "A setting is a key of the settings file, or a variable: driver is PRESTOW_DRIVER. "
    "A default is listed where the value is another one."
)


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "doctor", run,
        help="check what works on this host and say how to fix the rest; list the settings",
        example="prestow doctor\nprestow doctor docker.io registry.example:5000",
    )  # fmt: skip
    verb.add_argument(
        "registries", metavar="REGISTRY", nargs="*", type=registry,
        help="say which hosts file decides for this registry (default: for all that have one)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Check everything; the exit status is 1 if something that a pull needs does not work."""
    from flows.cli.checks import all_settings, run_checks

    findings, settings = run_checks(args.home, args.registries), all_settings()
    document = {"checks": [dataclasses.asdict(finding) for finding in findings], "settings": settings}
    emit(document, laid_out(findings, settings, args.width), args)
    return 1 if any(f.needed and not f.works for f in findings) else 0


def laid_out(findings: "Sequence[Finding]", settings: Sequence[Mapping[str, Any]], width: int | None) -> str:
    """Return the page, as wide as a terminal: what was found, what to do about it, and all settings."""
    rows = [(f.check, "yes" if f.works else "NO", f.found) for f in findings]
    checks = table(("CHECK", "WORKS", "FOUND"), rows, width)
    advice = fit("\n".join(f"{f.check}: {f.advice}" for f in findings if f.advice), width)
    values = [
        (s["name"], _shown(s["value"]), _shown(s["default"]) if s["default"] != s["value"] else "", s["meaning"])
        for s in settings
    ]
    listed = table(("SETTING", "VALUE", "DEFAULT", "MEANING"), values, width, drop=("DEFAULT", "MEANING"))
    return "\n\n".join(part for part in (checks, advice, listed, fit(_HOW, width)) if part)


def _shown(value: object) -> object:
    return "-" if value in (None, []) else value
