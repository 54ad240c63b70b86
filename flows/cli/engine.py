"""Verb ``engine``: what a worker starts for a run; Prefect's own engine, in the warm process where there is one."""

import argparse
import os
import runpy
import sys

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.session import elsewhere
from prestow.errors import PrestowError, UnavailableError


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "engine", run,
        help="run the flow run that PREFECT__FLOW_RUN_ID names: the command of the process workers of a pool",
        example="prestow engine",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Be Prefect's engine."""
    _elsewhere(args)
    read_before = "prefect" in sys.modules
    from prefect.settings import get_current_settings  # noqa: PLC0415 - the slow import

    if read_before:
        from flows.orchestration import read_again  # noqa: PLC0415 - keep `prestow --help` quick

        read_again(os.environ)
    flows = get_current_settings().flows
    if "heartbeat_frequency" not in flows.model_fields_set:
        flows.heartbeat_frequency = None  # the end of a flow would wait for its thread; the worker sees how we end
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    return 0


def _elsewhere(args: argparse.Namespace) -> None:
    """Run in the warm process of the store of this environment, even if the run's own parameters name another one."""
    try:
        elsewhere(args)
    except UnavailableError:  # it was killed in the middle
        raise
    except PrestowError:  # there is no such store, and no need of one
        args.words = None
