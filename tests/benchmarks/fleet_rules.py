"""What the rules of a rollout cost a coordinator: CPU milliseconds a host, for a whole rollout of simulated hosts.

    python -m tests.benchmarks.fleet_rules [--hosts N …]

One host in ten fails, dies, is slow, offline or refused; a look each 15 s. Only ``judge``, ``waves``, ``begun`` and
``stop_after`` are counted, not the world. Issue 14 allows 5 ms a host for all that a coordinator does.
"""

import argparse
import time
from collections.abc import Callable
from functools import wraps
from random import Random
from typing import Any

from flows.cli.tables import table
from tests.fleet import world
from tests.fleet.test_rollout_growth import ROLLOUT, RULES, fleet
from tests.fleet.world import Faults, World, rolled_out

_SPENT = {"seconds": 0.0, "looks": 0}


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            _SPENT["seconds"] += time.process_time() - began
            _SPENT["looks"] += function.__name__ == "judge"

    return timed


def main() -> None:
    """Print a row for each number of hosts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[500, 5000])
    for name in ("judge", "waves", "begun", "stop_after"):
        setattr(world, name, _timed(getattr(world, name)))
    rows = []
    for hosts in parser.parse_args().hosts:
        _SPENT.update(seconds=0.0, looks=0)
        simulated = World(fleet(hosts, Random(7)), Faults(), Random(7))
        rolled_out(simulated, ROLLOUT, RULES)
        spent = _SPENT["seconds"]
        rows.append([str(hosts), f"{simulated.now / 60:.0f}", str(_SPENT["looks"]), f"{1000 * spent / hosts:.3f}"])
    print(table(["hosts", "minutes of the rollout", "looks", "ms of CPU a host"], rows))


if __name__ == "__main__":
    main()
