"""Verb ``fleet``: which images belong on which hosts, and how they get there; each sub-verb is a module beside this."""

from importlib import import_module

from flows.cli.arguments import Parser, Verbs, add_verb
from prestow.project import module

PARTS = (
    "fleet_lock", "fleet_plan", "fleet_apply", "fleet_status", "fleet_hold", "fleet_hosts", "fleet_schema",
)  # fmt: skip
"""The modules of the sub-verbs, in the order of the help; ``add`` of each declares one or more."""


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb and its sub-verbs."""
    verb = add_verb(
        verbs, common, "fleet", None,
        help="bring the images of a fleet file onto many hosts",
        example="prestow fleet lock\nprestow fleet hosts nightly",
    )  # fmt: skip
    parts = verb.add_subparsers(title="sub-verbs", metavar="SUB-VERB", required=True)
    for part in PARTS:
        import_module(module(f"flows.cli.{part}")).add(parts, common)
