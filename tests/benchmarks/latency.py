"""How long one waits for a small image, from a shell, from Python, through a worker; and for the end of a run.

    python -m tests.benchmarks.latency [--images DIR] [--rounds N]

Needs a quiet machine, and Debian's docker-registry and skopeo. The image is ``tiny`` of ``tests/make-images``, 3 MiB
in 3 layers, in a registry on loopback; everything is on the disk of the temporary folder. Medians, wall time, from
before the command is started until it has ended; each begins when the server has written what it knows of the last.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from flows.cli.tables import table
from flows.connection import using_api
from flows.local_server.ensure import ensure, environment, stop
from flows.warm import client
from tests.benchmarks.calling import REST
from tests.image_factory import write_demo_image
from tests.real_images import RealImages
from tests.registries import Fault, FaultRegistry, docker_registry
from tests.workers import without_prefect, worker

Row = tuple[str, str, str, str]

PRESTOW = Path(sys.executable).with_name("prestow")


@dataclass(frozen=True)
class Store:
    """The command on one store."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a command: no settings but these, and no other API than the store's own."""
        return {**without_prefect(), "HOME": str(self.home.parent), "PRESTOW_HOME": str(self.home), "PRESTOW_COLD": "0"}

    def run(self, *words: str) -> float:
        """Run a command, and give its seconds."""
        began = time.perf_counter()
        subprocess.run([PRESTOW, *words], env=self.environment, check=True, capture_output=True)
        return time.perf_counter() - began

    def forget(self, name: str) -> None:
        """Leave nothing of an image in the store."""
        self.run("images", "rm", name)
        self.run("prune", "--keep-generations", "0")

    def end(self) -> None:
        """End what runs for the store, and remove it."""
        client.stop(self.home)
        stop(self.home)
        shutil.rmtree(self.home, ignore_errors=True)


def repeated(rounds: int, call: Callable[[], float], before: Callable[[], object] = lambda: None) -> float:
    """Return the median of some rounds, after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        before()
        time.sleep(REST)
        times.append(call())
    return statistics.median(times[1:])


def row(what: str, case: str, seconds: float, aim: float) -> Row:
    """Lay one figure out; it is on standard error at once."""
    print(f"{what} {case} {seconds:.3f} s", file=sys.stderr)
    return what, case, f"{seconds:.3f} s", f"≤ {aim:g} s"


def first_ever(folder: Path, reference: str, rounds: int) -> Row:
    """Time the first command of a store: its server, its warm process, the pull."""
    store = Store(folder / "first")
    median = repeated(rounds, lambda: store.run("pull", reference), store.end)
    store.end()
    return row("first command ever", "new", median, 8)


def from_a_shell(store: Store, reference: str, rounds: int) -> list[Row]:
    """Time commands: with the server alone, with the warm process too, and one that only reads."""

    def pull(*options: str) -> tuple[float, float]:
        def call() -> float:
            return store.run("pull", reference, *options)

        call()
        return repeated(rounds, call, lambda: store.forget(reference)), repeated(rounds, call)

    (cold_new, cold_again), (new, again) = pull("--cold"), pull()
    return [
        row("server is warm", "new", cold_new, 2.2),
        row("server is warm", "re-pulled", cold_again, 2.2),
        row("all is warm", "new", new, 0.6),
        row("all is warm", "re-pulled", again, 0.4),
        row("images", "", repeated(rounds, lambda: store.run("images")), 0.12),
        row("--version", "", repeated(rounds, lambda: store.run("--version")), 0.06),
    ]


def from_python(store: Store, reference: str, rounds: int) -> list[Row]:
    """Time what the flow adds to the engine, called in a process that is warm."""
    command = [sys.executable, "-m", "tests.benchmarks.calling", str(store.home), reference, str(rounds)]
    took = json.loads(subprocess.run(command, env=store.environment, check=True, stdout=subprocess.PIPE).stdout)
    return [
        row("from Python, above the engine", case, took[f"flow {case}"] - took[f"engine {case}"], 0.2)
        for case in ("new", "re-pulled")
    ]


@contextmanager
def at_server_of(store: Store) -> Iterator[Mapping[str, str]]:
    """Connect this process to the store's server, and give the variables that connect another one."""
    variables = environment(ensure(store.home))
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with using_api(Path(store.home)):
            yield variables
    finally:
        os.environ.clear()
        os.environ.update(before)


def through_a_worker(store: Store, folder: Path, reference: str, rounds: int) -> list[Row]:
    """Time runs of the deployment, from ``run_deployment`` until it says that the run has completed."""

    def deployed() -> float:
        began = time.perf_counter()
        run = run_deployment("pull/pull", parameters={"reference": reference}, timeout=60, poll_interval=0.05)
        took = time.perf_counter() - began
        assert run.state is not None and run.state.is_completed(), run.state  # noqa: PT018
        return took

    store.run("deploy")
    with at_server_of(store) as api, worker(sys.executable, {**store.environment, **api}, folder / "worker.log"):
        deployed()
        new = repeated(rounds, deployed, lambda: store.forget(reference))
        again = repeated(rounds, deployed)
        cancelled = repeated(rounds, lambda: cancelled_at_a_worker(store, folder))
    return [
        row("deployed, by a worker", "new", new, 1.3),
        row("deployed, by a worker", "re-pulled", again, 1.3),
        row("cancelled at the API, by a worker, until Cancelled", "", cancelled, 5),
    ]


def cancelled_at_a_worker(store: Store, folder: Path) -> float:
    """Cancel a run that hangs as the UI does, and give the seconds until the API knows it as Cancelled."""
    with hanging(store, folder) as (registry, name, layers), get_client(sync_client=True) as api:
        deployment = api.read_deployment_by_name("pull/pull")
        run = api.create_flow_run_from_deployment(deployment.id, parameters={"reference": name}).id
        while not all(map(registry.requests, layers)):
            time.sleep(0.01)
        began = time.perf_counter()
        api.set_flow_run_state(run, Cancelling())
        while api.read_flow_run(run).state_name != "Cancelled":
            time.sleep(0.02)
        return time.perf_counter() - began


@contextmanager
def hanging(store: Store, folder: Path) -> Iterator[tuple[FaultRegistry, str, list[str]]]:
    """Yield a registry whose layers hang after a byte, the name of an image in it, and how its layers are asked for."""
    if not (folder / "hanging").exists():
        write_demo_image(folder / "hanging")
    with FaultRegistry(folder / "hanging") as registry:
        name = f"{registry.domain}/team/demo:demo"
        command = [PRESTOW, "pull", name, "--json", "--stop-after", "manifest-stored"]
        known = json.loads(subprocess.run(command, env=store.environment, check=True, stdout=subprocess.PIPE).stdout)
        layers = [f"/blobs/{layer['digest']}" for layer in known["layers"]]
        for layer in layers:
            registry.on(layer, Fault(stall_after=1))  # what came stays, so little may come
        yield registry, name, layers


def ends(store: Store, folder: Path, rounds: int) -> list[Row]:
    """Time the end of a pull whose layers hang, once it is interrupted, and once it is cancelled at the API."""

    def ended(how: Callable[[int], None]) -> float:
        with hanging(store, folder) as (registry, name, layers):
            command = ["env", "--default-signal=INT", str(PRESTOW), "pull", name]  # a shell's background ignores it
            process = subprocess.Popen(command, env=store.environment, stderr=subprocess.DEVNULL)
            while process.poll() is None and not all(map(registry.requests, layers)):
                time.sleep(0.01)
            began = time.perf_counter()
            how(process.pid)
            process.wait()
            return time.perf_counter() - began

    with at_server_of(store):
        return [
            row("Ctrl-C, to the end", "", repeated(rounds, lambda: ended(lambda pid: os.kill(pid, signal.SIGINT))), 1),
            row("cancelled at the API, to the end", "", repeated(rounds, lambda: ended(lambda _: cancel())), 1),
        ]


def cancel() -> None:
    """Cancel what runs, as the UI does."""
    running = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Running"])))
    with get_client(sync_client=True) as api:
        for run in api.read_flow_runs(flow_run_filter=running):
            api.set_flow_run_state(run.id, Cancelling())


def main() -> None:
    """Take all times, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path.home() / ".cache/prestow-images")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    began, rounds = time.perf_counter(), args.rounds
    args.images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prestow-bench-") as scratch:
        folder = Path(scratch)
        with docker_registry(folder / "registry") as registry:
            reference = RealImages(args.images).push(registry, "tiny", "oci")
            store = Store(folder / "store")
            try:
                rows = [first_ever(folder, reference, rounds), *from_a_shell(store, reference, rounds)]
                rows += from_python(store, reference, rounds)
                rows += through_a_worker(store, folder, reference, rounds)
                rows += ends(store, folder, rounds)
            finally:
                store.end()
    print(table(("WHAT", "IMAGE", "TOOK", "AIM"), rows))
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"medians of {rounds} rounds, {time.perf_counter() - began:.0f} s in all; load average now: {load}")


if __name__ == "__main__":
    main()
