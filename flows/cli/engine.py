"""Verb ``engine``: what a worker starts for a run; Prefect's own engine, in the warm process where there is one."""

import argparse
import os
import runpy
import sys

from flows.cli.arguments import Parser, Verbs, add_verb
from flows.cli.session import elsewhere
from prestow.errors import InvalidError, PrestowError, UnavailableError

_LEAN = ("DO_NOT_TRACK", "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED")
"""What of a command's lean settings is a worker's, too, who has chosen what is logged."""

_RUN = "PREFECT__FLOW_RUN_ID"


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "engine", run,
        help=f"execute the flow run named by {_RUN}; process workers start this command",
        example="prestow engine",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Be Prefect's engine."""
    if not os.environ.get(_RUN):
        raise InvalidError(f"{_RUN} is not set: a worker starts this command, and names the flow run by it")
    _elsewhere(args)
    from flows.heartbeats import end_at_once
    from flows.local_server.proxies import bypass, direct
    from flows.orchestration import LEAN, lightened, read_again

    for name in _LEAN:
        os.environ.setdefault(name, LEAN[name])
    os.environ.update(bypass(os.environ, os.environ.get("PREFECT_API_URL")))
    if "prefect" in sys.modules:
        read_again(os.environ)
    api = lightened(heartbeats=True).api.url
    end_at_once()
    sys.modules.pop("prefect.engine", None)  # what is run is no import's leftover
    sys.argv = ["prefect.engine"]
    with direct(str(api)):
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
