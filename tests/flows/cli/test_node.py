"""``prestow node``: a host takes the runs of its own queue, reports, and ends with everything that it started."""

import configparser
import re
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from flows.deploying import deploy
from flows.local_server.ensure import Server
from flows.rollout.reporting import last_report
from flows.rollout.workers import COORDINATOR, POOL, beats
from prestow.fleet.report import EVENT, Report
from prestow.store.node import open_node
from tests.flows.cli.conftest import Called, Prestow
from tests.orders import locked, names, order
from tests.prefect_records import ended, until
from tests.processes import Child
from tests.registries import FaultRegistry
from tests.stalled import stalled
from tests.wheels import ROOT
from tests.workers import process_of, processes_with

LONG = pytest.mark.long


@pytest.fixture(scope="module")
def pool(deploying: None) -> None:
    """The pool and the deployments."""
    deploy(ROOT)


@dataclass
class Up:
    """A running ``prestow node up``, what it says, and the store of its host."""

    process: "Child[str]"
    log: Path
    home: str

    def says(self, text: str, count: int = 1) -> None:
        """Wait until it has said something."""

        def found() -> list[str]:
            assert self.process.poll() is None, self.log.read_text()
            return [line for line in self.log.read_text().splitlines() if text in line]

        until(found, count, f"{text!r} in {self.log}")

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it, and return all that it said."""
        self.process.send_signal(number)
        self.process.wait(60)
        return self.log.read_text()


@contextmanager
def up(prestow: Prestow, name: str, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Up]:
    """Run ``prestow node up`` until the block ends, or the test ends it."""
    home, log = str(prestow.scratch / name), prestow.scratch / f"{name}.log"
    own = {
        "PRESTOW_HOME": home, "PREFECT_WORKER_QUERY_SECONDS": "0.3", "PRESTOW_DEPLOYED_HOMES": '["/"]', **(env or {}),
    }  # fmt: skip
    words = words or ("--name", name)
    with log.open("w") as output, prestow.start("node", "up", *words, env=own, stdout=output, stderr=output) as process:
        running = Up(process, log, home)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.terminate()


def ordered(host: str, deployment: str = "prepull/prepull", **parameters: Any) -> UUID:
    """Create a run on the queue of a host, as the fleet does."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        return client.create_flow_run_from_deployment(found.id, parameters=parameters, work_queue_name=host).id


@LONG
def test_two_hosts_take_the_runs_of_their_own_queues_and_report(
    pool: None, prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    images = {host: locked(fault_registry, f"team/{host}:1") for host in ("node-a", "node-b")}
    with up(prestow, "node-a") as first, up(prestow, "node-b") as second:
        for each in (first, second):
            each.says("takes the runs of its queue")
        runs = {
            host: ordered(host, images=[image], order=order(first.home, 3, host=host).model_dump(mode="json"))
            for host, image in images.items()
        }
        last = {host: ended(run) for host, run in runs.items()}
        said = [each.stop() for each in (first, second)]

    assert {host: (run.state_name, run.name) for host, run in last.items()} == {
        host: ("Completed", f"prepull {host} · 1 image") for host in images
    }
    assert [{*names(each.home)} for each in (first, second)] == [{"team/node-a:1"}, {"team/node-b:1"}]
    assert [text.splitlines()[-1] for text in said] == ["stopped", "stopped"]
    assert [first.process.returncode, second.process.returncode] == [0, 0]
    for host, image in images.items():
        report = last_report(host)
        assert report is not None
        assert [each.digest for each in report.images] == [image.partition("@")[2]]
        assert report.generations == {"nightly": 3}
        with get_client(sync_client=True) as client:
            assert client.read_work_queue_by_name(host, POOL).concurrency_limit == 1


@LONG
def test_runs_that_name_no_host_are_taken_by_the_host_that_is_to_take_them(pool: None, prestow: Prestow) -> None:
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("prune/prune")
        run = client.create_flow_run_from_deployment(found.id).id
    with up(prestow, "node-n") as other:
        other.says("takes the runs of its queue from")
        with up(prestow, "node-o", "--name", "node-o", "--default-queue") as node:
            node.says("takes the runs of its queue, and those that name no host, from")
            assert ended(run).state_name == "Completed"

    assert Path(node.home, "metadata.db").exists()
    assert str(run) in node.log.read_text()
    assert str(run) not in other.log.read_text()


@LONG
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_run_ends_everything_and_the_next_run_resumes(
    pool: None, prestow: Prestow, fault_registry: FaultRegistry, number: int
) -> None:
    name = f"node-c-{number}"
    with up(prestow, name) as node:
        node.says("takes the runs of its queue")
        hung = stalled(fault_registry, node.home)
        run = ordered(name, "pull/pull", reference=hung.reference)
        hung.wait()
        node.stop(number)

        until(lambda: [0] if not process_of(run) else [], 1, "the end of its run")
        assert node.process.returncode == 0
        assert ended(run).state_name in ("Crashed", "Cancelled")
    hung.recover()
    with up(prestow, name) as node:
        node.says("takes the runs of its queue")
        assert ended(ordered(name, "pull/pull", reference=hung.reference)).state_name == "Completed"
    hung.check()


@LONG
def test_a_worker_ends_with_the_process_that_started_it(pool: None, prestow: Prestow) -> None:
    with up(prestow, "node-d") as node:
        node.says("Worker 'node-d' started")
        node.process.kill()
        node.process.wait()

        until(lambda: [0] if not processes_with("PRESTOW_NODE_NAME=node-d") else [], 1, "the end of the worker")


@LONG
def test_two_hosts_with_one_name_and_two_workers_of_one_store_are_refused(pool: None, prestow: Prestow) -> None:
    with up(prestow, "node-e") as node:
        node.says("Worker 'node-e' started")
        until(lambda: [each for each in beats() if each == "node-e"], 1, "its heartbeat")
        other = prestow("node", "up", "--name", "node-e", env={"PRESTOW_HOME": str(prestow.scratch / "other")})
        same = prestow("node", "up", "--name", "node-e", env={"PRESTOW_HOME": node.home})
        status = prestow("node", "status", "--name", "node-e", "--json", env={"PRESTOW_HOME": node.home})

    assert (other.status, same.status) == (6, 8)
    assert "another host of this name is online" in other.err
    assert f"the worker of the store {node.home} is in use" in same.err
    assert status.status == 0
    assert (status.document["online"], status.document["store"]) == (True, open_node(node.home).store_id)
    assert status.document["report"]["host"] == "node-e"


@contextmanager
def relayed(server: Server) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Yield the URL of an API that is switched on and off: a relay to the real one."""
    port = server.url.rpartition(":")[2].partition("/")[0]
    listener: list[Child[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]

    def on() -> None:
        listener.append(Child([sys.executable, "-c", RELAY, str(number), port]))

    def off() -> None:
        listener[-1].kill()
        listener[-1].wait()

    try:
        yield f"http://127.0.0.1:{number}/api", on, off
    finally:
        for process in listener:
            process.kill()
            process.wait()


RELAY = """
import asyncio, sys
async def copy(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
async def relay(reader, writer):
    there = await asyncio.open_connection('127.0.0.1', int(sys.argv[2]))
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
async def main():
    async with await asyncio.start_server(relay, '127.0.0.1', int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""


@LONG
def test_an_api_that_is_away_is_waited_for(pool: None, prestow: Prestow, prefect_server: Server) -> None:
    with relayed(prefect_server) as (url, on, off), up(prestow, "node-f", env={"PREFECT_API_URL": url}) as node:
        node.says("waiting for it")
        on()
        node.says("takes the runs of its queue")
        off()
        node.says("does not answer (", 1)
        on()
        node.says("answers again")
        run = ordered("node-f", "prune/prune", home=node.home)
        assert ended(run).state_name == "Completed"
        assert node.stop().endswith("stopped\n")


@LONG
def test_the_how_to_add_a_host_works_line_by_line(pool: None, prestow: Prestow) -> None:
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (ROOT / "docs/how-to/add-a-host.md").read_text(), re.MULTILINE | re.DOTALL
    )
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    typed = [words[1:] for words in lines if words[0] == "prestow"]
    assert [words[0] for words in lines if words[0] != "prestow"] == ["export"]  # here the API has another address
    own = {"PRESTOW_HOME": str(prestow.scratch / "gpu-03")}

    with ExitStack() as around:
        for words in typed:
            if words[:2] == ["node", "up"]:
                around.enter_context(up(prestow, "gpu-03", *words[2:])).says("Worker 'gpu-03' started")
                until(lambda: [each for each in beats() if each == "gpu-03"], 1, "its heartbeat")
            else:
                done = prestow(*words, env=own)
                assert done.status == 0, f"{words}: {done.out}{done.err}"

    assert [words[:2] for words in typed][-2:] == [["node", "up"], ["node", "status"]]


@LONG
def test_the_coordinator_takes_the_runs_of_its_queue_and_needs_no_store(pool: None, prestow: Prestow) -> None:
    with up(prestow, "desk", "--coordinator") as node:
        node.says(f"Worker '{COORDINATOR}' started")
        assert not Path(node.home, "store.json").exists()
        run = ordered(COORDINATOR, "prune/prune", home=str(prestow.scratch / "store"))
        assert ended(run).state_name == "Completed"

    with get_client(sync_client=True) as client:
        assert client.read_work_queue_by_name(COORDINATOR, POOL).concurrency_limit is None
    assert last_report(COORDINATOR) is None


def test_a_host_that_cannot_pull_is_refused_with_what_is_wrong(called: Called, home: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    home.mkdir()
    (home / "store.json").write_text("not a store")

    done = called("node", "up", "--name", "node-g")

    assert done.status == 6
    assert "this host cannot pull: store: " in done.err
    assert "`prestow doctor`" in done.err
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@LONG
def test_a_host_whose_disk_is_full_comes_up_and_reports_that(pool: None, prestow: Prestow) -> None:
    with up(prestow, "node-i", env={"PRESTOW_MIN_FREE_BYTES": str(1 << 60)}) as node:
        node.says("takes the runs of its queue")

        report = last_report("node-i")

    assert "disk: " in node.log.read_text()
    assert report is not None
    assert report.free_bytes == 0


@LONG
def test_a_host_reports_again_and_again(pool: None, prestow: Prestow) -> None:
    with up(prestow, "node-p", env={"PRESTOW_REPORT_MINUTES": "0.01"}) as node:
        node.says("takes the runs of its queue")
        about = EventResourceFilter(id=["prestow.host.node-p"])

        def reports() -> list[datetime]:
            wanted = EventFilter(event=EventNameFilter(name=[EVENT]), resource=about)  # up to the present, by default
            with get_client(sync_client=True) as client:
                events = client.read_events(wanted, limit=50).events
            return sorted({Report.model_validate(each.payload).at for each in events})

        assert until(reports, 4, "reports")


def test_a_report_is_made_once_and_shown(called: Called, monkeypatch: pytest.MonkeyPatch, pool: None) -> None:
    monkeypatch.setenv("PRESTOW_NODE_NAME", "node-h")

    made = called("node", "report", "--json")
    status = called("node", "status")

    assert made.status == 0
    assert (made.document["host"], made.document["images"]) == ("node-h", [])
    assert last_report("node-h") is not None
    assert status.status == 1  # there is no worker
    assert "offline: never seen; start it with `prestow node up`" in status.out
    assert made.document["store"] in status.out


def test_a_coordinator_takes_no_runs_of_hosts(called: Called) -> None:
    done = called("node", "up", "--coordinator", "--default-queue")

    assert (done.status, done.out) == (2, "")
    assert "--default-queue is for a host" in done.err


@pytest.mark.parametrize("name", ["GPU", "gpu_1", "", "a" * 64, "-a"])
def test_a_name_that_no_fleet_file_may_have_is_an_error(called: Called, name: str) -> None:
    done = called("node", "up", f"--name={name}")

    assert done.status == 2
    assert "expected small letters, digits, . and -" in done.err


def test_the_unit_for_systemd_says_what_this_command_needs() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names of settings have capitals

    unit.read(ROOT / "deployments/prestow-node.service")

    service = unit["Service"]
    assert service["ExecStart"].split()[1:] == ["node", "up"]
    assert (service["KillMode"], service["Restart"]) == ("mixed", "always")
    assert {*unit.sections()} == {"Unit", "Service", "Install"}
