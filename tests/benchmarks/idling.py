"""What a store's server and its warm process take while nobody asks them for anything.

    python -m tests.benchmarks.idling [--seconds N]

CPU time, user and system, as a share of the wall time, and resident memory. All deployments are on the server, their
schedules switched on. Another load on the machine makes the share larger, as it takes the caches away.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.cli.tables import table
from flows.local_server.ensure import ensure, environment, stop
from flows.warm import client
from tests.image_factory import write_demo_image
from tests.workers import without_prefect

_SETTLED = 30.0  # seconds after the start, in which services begin
_TICKS = os.sysconf("SC_CLK_TCK")
_PRESTOW = Path(sys.executable).with_name("prestow")
_SCHEDULED = """
from prefect import get_client
with get_client(sync_client=True) as api:
    for found in api.read_deployments():
        for schedule in found.schedules:
            api.update_deployment_schedule(found.id, schedule.id, active=True)
"""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main(seconds: float) -> None:
    """Measure."""
    folder = Path(tempfile.mkdtemp(prefix="prestow-idling-"))
    home, layout = folder / "store", folder / "layout"
    variables = {**without_prefect(), "HOME": str(folder), "PRESTOW_HOME": str(home), "PRESTOW_COLD": "0"}
    try:
        write_demo_image(layout)
        subprocess.run([_PRESTOW, "pull", f"oci:{layout}:demo"], env=variables, check=True, capture_output=True)
        server, warm = ensure(home), client.status(home)
        subprocess.run([_PRESTOW, "deploy"], env=variables, check=True, capture_output=True)
        switch_on = [sys.executable, "-c", _SCHEDULED]
        subprocess.run(switch_on, env={**variables, **environment(server)}, check=True, capture_output=True)
        time.sleep(_SETTLED)
        processes = {"server": server.pid, **({"warm process": warm} if warm else {})}
        before, began = {name: cpu_seconds(pid) for name, pid in processes.items()}, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        rows = [
            (name, f"{100 * (cpu_seconds(pid) - before[name]) / took:.2f} %", f"{resident_mib(pid):.0f} MiB")
            for name, pid in processes.items()
        ]
        print(table(("idle", "of a core", "resident"), rows))
    finally:
        client.stop(home)
        stop(home)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=300.0)
    main(arguments.parse_args().seconds)
