"""Verb ``engine``: what a worker starts for a run; Prefect's own engine, in the warm process where there is one."""

import argparse
import os
import runpy
import sys

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.session import elsewhere


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "engine", run,
        help="run the flow run that PREFECT__FLOW_RUN_ID names: the command of the process workers of a pool",
        example="prestow engine",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Be Prefect's engine."""
    elsewhere(args)
    if "prefect" in sys.modules:
        from flows.orchestration import read_again  # noqa: PLC0415 - keep `prestow --help` quick

        read_again(os.environ)
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0
