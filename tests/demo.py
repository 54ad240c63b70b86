"""``make demo``: the main job, from nothing, with the commands a person would type; prints what each step did.

Without a reference, a small image is written by the tests' image factory (a static program for two architectures,
nothing copied from the host), served on loopback by ``prestow serve`` and pulled over HTTP from there.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.cli.output import size
from flows.cli.tables import table
from prestow.checkpoints import STEPS
from tests.image_factory import write_demo_image

PRESTOW = (sys.executable, "-m", "prestow")


def main(reference: str | None) -> int:
    """Do it, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="prestow-demo-") as scratch:
        folder = Path(scratch)
        os.environ["PRESTOW_HOME"] = str(folder / "store")
        try:
            if reference is not None:
                return _show(reference, folder)
            write_demo_image(folder / "layout", ref="demo:1")
            with served(folder / "layout") as address:
                return _show(f"{address}/demo:1", folder)
        finally:
            for verb in ("warm", "server"):
                subprocess.run([*PRESTOW, verb, "stop"], stdout=subprocess.DEVNULL, check=False)


def _show(reference: str, folder: Path) -> int:
    pulled = _json("pull", reference)
    again = _json("pull", reference)
    mounted = os.geteuid() == 0
    made = _json("bundle", reference, str(folder / "bundle"), "--id", "demo", *(() if mounted else ("--copy",)))
    print(_steps(pulled, made))
    print(f"\npulled again: fetched {again['fetched_bytes']} bytes, reused {size(again['reused_bytes'])}")
    if not shutil.which("runc"):
        print(f"not run: that needs runc. The bundle is {made['directory']}, by {made['driver']}:")
        return subprocess.run(["ls", "-l", made["directory"]], check=False).returncode
    if mounted:
        _json("containers", "rm", "demo")
    print(f"\n$ prestow run --rm {reference}", flush=True)
    return subprocess.run([*PRESTOW, "run", "--rm", reference], check=False).returncode


def _steps(pulled: dict[str, Any], made: dict[str, Any]) -> str:
    """Lay out what each step of the two runs did."""
    moved = {"fetch_layer": pulled["fetched_bytes"]}
    seconds = {**made["seconds"], **pulled["seconds"]}
    rows = [
        (step, checkpoint, size(moved[step]) if step in moved else "-", f"{seconds[step] * 1000:.0f} ms")
        for step, checkpoint in STEPS.items()
        if step in seconds
    ]
    return table(("STEP", "CHECKPOINT", "BYTES", "TIME"), rows)


def _json(*arguments: str) -> dict[str, Any]:
    print("$ prestow", *arguments, flush=True)
    done = subprocess.run([*PRESTOW, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@contextmanager
def served(layout: Path) -> Iterator[str]:
    """Serve a layout on loopback for the block, and give its address."""
    command = [*PRESTOW, "serve", "--json", "--listen", "127.0.0.1:0", "--layout", str(layout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = iter(server.stdout.readline, "}\n")
            yield json.loads("".join(lines) + "}")["listen"]
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))
