"""Verb ``doctor``: what works here, what does not, and what to do about it."""

import argparse

from flows.cli.arguments import Verbs, add_verb
from flows.cli.output import emit, table


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "doctor", run,
        help="check store, snapshotters, runtime and Prefect: what works here, what does not, what to do",
        example="prestow doctor\nprestow doctor --json",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Check everything; the exit status is 1 if something that a pull needs does not work."""
    from flows.cli.checks import examine  # noqa: PLC0415 - keep `prestow --help` quick

    findings = examine(args.home)
    document = [
        {"check": f.check, "works": f.works, "needed": f.needed, "found": f.found, "advice": f.advice} for f in findings
    ]
    rows = [(f.check, "ok" if f.works else "no", f.found) for f in findings]
    advice = "\n".join(f"{f.check}: {f.advice}" for f in findings if f.advice)
    emit(document, "\n\n".join(filter(None, (table(("CHECK", "WORKS", "FOUND"), rows), advice))), as_json=args.json)
    return 1 if any(f.needed and not f.works for f in findings) else 0
