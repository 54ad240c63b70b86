"""The store of a block is the default of the flows in it, wherever in the process they are called."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest

import flows.pull
import flows.run
import prestow.flows
from flows.local_server.ensure import Server
from prestow.flows import connected, pull
from prestow.store.node import open_node

PROGRAM = """
import os, sys
from pathlib import Path
from prestow.flows import connected
from prefect.settings import get_current_settings

os.environ["MINE"] = "before"
before = dict(os.environ)
for _ in range(2):
    with connected(sys.argv[1]) as url:
        print(url, get_current_settings().api.url, os.environ["PRESTOW_HOME"])
        os.environ["MINE"] = "after"
    assert dict(os.environ) == before | {"MINE": "after"}
    print(get_current_settings().api.url, get_current_settings().logging.level)
"""

REFUSED = """
import os, sys
from prestow.errors import PreconditionError
from prestow.flows import connected

before = dict(os.environ)
try:
    with connected(sys.argv[1]):
        pass
except PreconditionError:
    print("refused")
assert dict(os.environ) == before
"""


def images(home: Path) -> list[str]:
    node = open_node(str(home))
    try:
        return [record.name for record in node.images.list()]
    finally:
        node.close()


def test_the_public_names_are_the_flows_of_the_project() -> None:
    assert prestow.flows.pull is flows.pull.pull
    assert prestow.flows.run is flows.run.run


def test_inner_blocks_and_threads_have_their_own_store(
    prefect_server: Server, demo_layout: Path, tmp_path: Path
) -> None:
    source = f"oci:{demo_layout}:demo"
    before = dict(os.environ)

    with connected(tmp_path / "outer"):
        with connected(tmp_path / "inner") as url, ThreadPoolExecutor(1) as pool:
            assert url == prefect_server.url
            pull(source, name="localhost/in:1")
            pool.submit(copy_context().run, pull, source, name="localhost/thread:1").result()
            with pytest.raises(ValueError, match="pass home="):
                pool.submit(pull, source).result()
            pool.submit(pull, source, name="localhost/told:1", home=str(tmp_path / "inner")).result()
        pull(source, name="localhost/out:1")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(pull, source, name="localhost/thread:1").result()

    assert images(tmp_path / "inner") == ["localhost/in:1", "localhost/thread:1", "localhost/told:1"]
    assert images(tmp_path / "outer") == ["localhost/out:1", "localhost/thread:1"]
    assert dict(os.environ) == before


@pytest.mark.usefixtures("prefect_server")
def test_blocks_in_two_threads_at_once_do_not_disturb_each_other(demo_layout: Path, tmp_path: Path) -> None:
    begun = threading.Barrier(2, timeout=60)

    def work(name: str) -> str:
        with connected(tmp_path / name):
            begun.wait()
            digest = pull(f"oci:{demo_layout}:demo", name=f"localhost/{name}:1").digest
            begun.wait()
        return digest

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, ("one", "two"))

    assert first == second
    assert [images(tmp_path / name) for name in ("one", "two")] == [["localhost/one:1"], ["localhost/two:1"]]


@pytest.mark.long
def test_a_block_that_cannot_be_entered_changes_nothing(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PRESTOW_"))}
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    done = subprocess.run(
        [sys.executable, "-c", REFUSED, tmp_path / "open"],
        cwd=tmp_path, env={**kept, "HOME": str(tmp_path)}, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.long
def test_after_a_block_the_process_is_as_before_and_the_next_one_connects_again(
    prefect_server: Server, tmp_path: Path
) -> None:
    store = prefect_server.directory.parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PRESTOW_"))}

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, store],
        cwd=tmp_path, env={**kept, "HOME": str(tmp_path)}, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{prefect_server.url} {prefect_server.url} {store}", "None INFO"] * 2
