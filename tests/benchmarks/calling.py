"""Pulls called from Python in a process that is warm: ``python -m tests.benchmarks.calling HOME REFERENCE ROUNDS``.

Prints, as JSON, the median seconds of the flow and of the engine alone, of an image that is new and of one that is
here; they take turns. Whatever API Prefect's settings name is used, else the store's own server.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flows.connection import using_api
from prestow.gc.prune import prune
from prestow.metadata.tag import untag
from prestow.store.node import Node, open_node
from tests.benchmarks import engine

REST = 1.5
"""Seconds after which the server has written what it was told of a run."""


def forget(node: Node) -> None:
    """Leave nothing of the image in the store."""
    names = [record.name for record in node.images.list()]
    untag(node.database, node.content, *names)
    prune(node)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(home: str, reference: str, rounds: str) -> None:
    """Let them take turns, once to warm up and then ``rounds`` times."""
    times: dict[str, list[float]] = {}
    with using_api(Path(home)):
        from flows.pull import pull

        node = open_node(home)
        contestants: dict[str, Callable[[], object]] = {
            "flow": lambda: pull(reference, home=home),
            "engine": lambda: engine.pull(node, reference, "auto"),
        }
        for turn in range(int(rounds) + 1):
            for name, call in contestants.items():
                forget(node)
                for case in ("new", "re-pulled"):
                    time.sleep(REST)
                    took = timed(call)
                    if turn:
                        times.setdefault(f"{name} {case}", []).append(took)
    print(json.dumps({name: statistics.median(found) for name, found in times.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
