"""One pull by the engine alone, without Prefect, in a process of its own: prints what it took as JSON.

    python -m tests.benchmarks.engine REFERENCE HOME DRIVER

The clock runs from the first question to the registry until the name points to the committed snapshots; the imports
before it, a tenth of a second, are those of a process that is warm when it pulls. The peak is that of the resident set
since the program was started: ``ru_maxrss`` would also tell of the process that started it, from before its exec.
"""

import gc
import importlib
import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prestow.content.verify import verify
from prestow.layers.apply import apply
from prestow.metadata.tag import tag
from prestow.oci.image import Layer
from prestow.platforms import host
from prestow.reference import image_name, parse_source
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.registry.resolve import resolve
from prestow.snapshots.commit import commit_snapshots
from prestow.store.node import Node, open_node

PARALLEL = 8


def pull(node: Node, reference: str, driver: str) -> dict[str, float]:
    """Pull as the flow does, step by step, and give the seconds of its parts."""
    began = time.perf_counter()
    target = resolve(node.source(reference), node.content, parse_source(reference))
    image = fetch_manifest(node.source(reference), node.content, target, host())
    described = time.perf_counter()

    def layer(one: Layer) -> None:
        fetch_layer(node.source(reference), node.content, one, scans=node.scans)
        verify(node.content, one.descriptor)
        apply(node.content, one, scans=node.scans)

    with ThreadPoolExecutor(PARALLEL) as threads:
        list(threads.map(layer, image.largest_first))
    applied = time.perf_counter()
    commit_snapshots(node.snapshotter(driver), image)
    tag(node.database, node.content, image_name(reference, None), image.target)
    ended = time.perf_counter()
    return {
        "total": ended - began,
        "documents": described - began,
        "layers": applied - described,
        "commit": ended - applied,
    }


def peak_mib() -> float:
    """Return the largest resident set that this program had, in MiB (proc(5), VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main(reference: str, home: str, driver: str) -> None:
    """Warm up what a running process has: rooms, settings, the probe's answer; then pull once."""
    for room in ("isal.igzip", "zstandard", "prestow.registry.client", "prestow.registry.registry"):
        importlib.import_module(room)
    gc.set_threshold(50_000)  # as the command line does: the many small objects of a scan hold no cycles
    node = open_node(home)
    node.snapshotter(driver)
    before = peak_mib()
    seconds = pull(node, reference, driver)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    peak = peak_mib()
    print(json.dumps({**seconds, "cpu": cpu, "peak_mib": peak, "grown_mib": peak - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
