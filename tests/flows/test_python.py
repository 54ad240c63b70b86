"""The flows in programs of others: from the installed wheel, beside packages that are called like ours."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.local_server.ensure import Server, environment
from prestow.store.node import open_node
from tests.prefect_records import ended, until
from tests.wheels import NAMES, ROOT, Installed

PRELUDE = "import config, flows, tasks\nassert {config.OWNER, flows.OWNER, tasks.OWNER} == {'theirs'}\n"
PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)
OWN_FLOW = ROOT / "docs/how-to/use-from-your-own-flow.md"

PARTS_OF_OTHER_FLOWS = """
import asyncio, json, os, sys
from prefect import flow, task
from prefect.flows import Flow
from prestow.flows import bundle, connected, fsck, prepull, prune, pull, run

reference, home = sys.argv[1:]

@task
def in_a_task(reference):
    return pull(reference).checkpoint

@flow
def theirs(reference):
    submitted = in_a_task.submit(reference)
    ours = pull.with_options(name="theirs", retries=1)(reference)
    state = run(ours.name, rm=True, return_state=True)
    return [ours.checkpoint, submitted.result(), state.result().status]

@flow
async def theirs_too(reference):
    return [pull(reference).checkpoint, await asyncio.to_thread(lambda: pull(reference).checkpoint)]

async def notebook():
    with connected(home):
        parts = [await theirs_too(reference), theirs(reference)]
        whole = [prepull([reference]).failed, fsck().damaged, prune(dry_run=True).removed, bundle(name).image]
    return [*parts, whole]

name = "localhost/demo:latest"
assert all(isinstance(ours, Flow) for ours in (bundle, fsck, prepull, prune, pull, run))
assert pull.to_deployment("one").entrypoint.endswith("pull.py:pull"), pull.to_deployment("one").entrypoint
before = dict(os.environ)
print(json.dumps(asyncio.run(notebook())))
assert dict(os.environ) == before
"""

TYPED = """
from typing import assert_type
from prefect import Flow
from prestow.flows import Pulled, Ran, connected, pull, run

with connected("/srv/store") as url:
    assert_type(url, str)
    assert_type(pull("alpine"), Pulled)
    assert_type(run("alpine", args=("true",)), Ran)
    named = pull.with_options(name="named")
    pull(1)  # a mistake
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A program's folder with packages of its own."""
    for name in NAMES:
        (tmp_path / "program" / name).mkdir(parents=True)
        (tmp_path / "program" / name / "__init__.py").write_text("OWNER = 'theirs'\n")
    return tmp_path / "program"


@pytest.fixture
def variables(installed: Installed, prefect_server: Server, demo_layout: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a program: its default store cannot be made."""
    api = environment(prefect_server)
    (tmp_path / "file").touch()
    allowed = {"PRESTOW_DEPLOYED_LAYOUTS": json.dumps([str(demo_layout)])}
    return {**installed.environment, **api, **allowed, "PRESTOW_HOME": f"{tmp_path}/file/store", "HOME": str(tmp_path)}


def written(folder: Path, program: str) -> str:
    (folder / "program.py").write_text(PRELUDE + program)
    return "program.py"


def names(home: str | Path) -> list[str]:
    node = open_node(str(home))
    try:
        return [record.name for record in node.images.list()]
    finally:
        node.close()


@pytest.mark.long
def test_the_example_of_the_readme_runs(
    installed: Installed, folder: Path, variables: dict[str, str], demo_layout: Path, tmp_path: Path
) -> None:
    (example,) = PROGRAM.findall((ROOT / "README.md").read_text("utf-8"))
    store, image = "/var/lib/prestow", "docker.io/library/ubuntu:24.04"
    assert store in example
    assert image in example
    program = example.replace(store, str(tmp_path / "store")).replace(image, f"oci:{demo_layout}:demo")

    command = [installed.python, "-W", "error::RuntimeWarning", written(folder, program)]
    done = subprocess.run(command, cwd=folder, env=variables, check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"sha256:[0-9a-f]{64} [0-9]+\n", done.stdout)
    assert names(tmp_path / "store") == ["localhost/demo:latest"]


@pytest.mark.long
def test_flows_are_parts_of_other_flows_also_in_an_event_loop(
    installed: Installed, folder: Path, variables: dict[str, str], demo_layout: Path, home: str
) -> None:
    command = [str(installed.python), "-W", "error::RuntimeWarning", written(folder, PARTS_OF_OTHER_FLOWS)]
    done = subprocess.run(
        [*command, f"oci:{demo_layout}:demo", home],
        cwd=folder,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["tagged", "tagged"],
        ["tagged", "tagged", 0],
        [0, 0, [], "localhost/demo:latest"],
    ]
    assert names(home) == ["localhost/demo:latest"]


@pytest.fixture
def served(
    installed: Installed, folder: Path, variables: dict[str, str], home: str, prefect_server: Server
) -> Iterator[DeploymentResponse]:
    """A deployment that the how-to's program has made, and runs; its process is ended by SIGTERM."""
    name = f"served-{token_hex(4)}"
    (example,) = (each for each in PROGRAM.findall(OWN_FLOW.read_text("utf-8")) if ".serve(" in each)
    program = example.replace("/srv/store", home).replace("on-request", name)
    command = ["env", "--default-signal=INT", installed.python, written(folder, program)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)

    def deployments() -> list[DeploymentResponse]:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with get_client(sync_client=True) as client:
                return [client.read_deployment_by_name(f"pull/{name}")]
        except ObjectNotFound:
            return []

    try:
        (deployment,) = until(deployments, 1, "the deployment")
        yield deployment
        with get_client(sync_client=True) as client:
            client.delete_deployment(deployment.id)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.long
def test_a_flow_that_is_served_runs_on_the_store_of_the_program(
    served: DeploymentResponse, folder: Path, demo_layout: Path, home: str
) -> None:
    parameters: dict[str, Any] = {"reference": f"oci:{demo_layout}:demo"}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(served.id, parameters=parameters)

    state = ended(run.id).state

    assert state is not None
    assert state.is_completed(), f"{state}\n{(folder / 'log').read_text()}"
    assert names(home) == ["localhost/demo:latest"]


@pytest.mark.large
def test_a_type_checker_knows_the_flows_of_the_wheel(installed: Installed, folder: Path) -> None:
    (folder / "program.py").write_text(TYPED)
    done = subprocess.run(
        [installed.python, "-m", "mypy", "--strict", "program.py"],
        cwd=folder, env=installed.environment, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert 'No overload variant of "__call__" of "Flow" matches argument type "int"' in done.stdout, done.stdout
    assert "Found 1 error in 1 file" in done.stdout
