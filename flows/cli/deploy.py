"""Verb ``deploy``: make the work pool and the deployments of ``deployments/prefect.yaml`` at the Prefect API.

Prefect's own command does it, from the file that anybody may use without prestow too; doing it again changes nothing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from flows.cli.arguments import Verbs, add_verb
from flows.cli.output import emit, say
from prestow.errors import UnavailableError

POOL = "prestow"


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Declare the verb."""
    add_verb(
        verbs, common, "deploy", run,
        help="create or update the work pool and the deployments at the Prefect API",
        example="prestow deploy\nprefect worker start --pool prestow",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Deploy."""
    from flows.orchestration import connected  # noqa: PLC0415 - keep `prestow --help` quick
    from prestow.project import root  # noqa: PLC0415 - likewise

    project = root()
    with connected(Path(args.home), os.environ) as api:
        environment = {**os.environ, "PRESTOW_PROJECT": str(project)}
        file = project / "deployments" / "prefect.yaml"
        _prefect(project, environment, "work-pool", "create", POOL, "--type", "process", "--overwrite")
        _prefect(project, environment, "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    text = f"deployed to {api}; run them with: prefect worker start --pool {POOL}"
    emit({"pool": POOL, "api": api, "project": str(project)}, text, as_json=args.json)
    return 0


def _prefect(project: Path, environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(
        command, cwd=project, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        say(done.stdout + done.stderr)
        raise UnavailableError(f"prefect {arguments[0]} ended with status {done.returncode}; what it said is above")
