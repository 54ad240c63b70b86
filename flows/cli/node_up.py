"""``prestow node up``: the stock process worker of a host on its own queue alone, and the host's reports.

    checks ▶ connect ▶ is the name free? ▶ queue ▶ report ▶ worker ─┬─▶ report, each report_minutes
                                                             ▲      ├─▶ the API is away: say so, wait for it
                                                             └──────┴─▶ the worker ended meanwhile: start it again

The worker starts ``prestow engine`` for each run, as its deployment says, which the warm process then forks. It is in a
session of its own, so that Ctrl-C reaches it through us, once; it ends when we do, however we end.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.output import emit, say
from flows.cli.session import connection
from prestow.cancellation import PROMPT
from prestow.content.lock import FileLock
from prestow.errors import PreconditionError, UnavailableError, printable

if TYPE_CHECKING:
    from prestow.store.node import Node

_MINUTE = 60.0
_LONGEST_LOOK = 60.0  # seconds between two looks whether the API is there
_PATIENCE = 30.0  # seconds that the worker and its runs have to end
_POLL = "PREFECT_WORKER_QUERY_SECONDS"
_HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
_PROGRAM = (
    "import ctypes, runpy, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"  # PR_SET_PDEATHSIG: it ends with us
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # Prefect ends itself by it, and a script ignores it
    "runpy.run_module('prefect', run_name='__main__', alter_sys=True)\n"
)


def run(args: argparse.Namespace) -> int:
    """Check, join, and run until interrupted.

    Raises:
        PreconditionError: something that pulls need does not work here, or another host has the name.
        NotFoundError: there is no work pool.
        UnavailableError: a worker of this store runs already, or the worker ended by itself.
    """
    environment, ended = dict(os.environ), threading.Event()
    with ExitStack() as around:
        for number in (signal.SIGINT, signal.SIGTERM):
            around.callback(signal.signal, number, signal.signal(number, lambda *_: ended.set()))
        node = None if args.coordinator else _checked(args, around)
        api = _connected(args, ended, around)
        if api is not None:
            _Up(args, node, environment, ended, api).run()
    say("stopped")
    return 0


def _checked(args: argparse.Namespace, around: ExitStack) -> "Node":
    """Look at the host as `prestow doctor` does, and open its store for one worker alone."""
    from flows.cli.checks import run_checks
    from prestow.store.node import open_node

    failed = [each for each in run_checks(args.home) if each.needed and not each.works]
    told = {each.check: f"{each.check}: {each.found}{each.advice and f' ({each.advice})'}" for each in failed}
    told.pop("prefect", None)  # it is waited for
    if full := told.pop("disk", ""):
        say(full)  # only a host that is up can report that, and images that retention or a person removes make room
    if told:
        raise PreconditionError(
            f"this host cannot pull: {'; '.join(told.values())}; repair that, and look with `prestow doctor`"
        )
    node = open_node(args.home, args.namespace)
    _ = node.settings
    around.enter_context(FileLock(Path(args.home, "node.lock"), timeout=0, what=f"the worker of the store {args.home}"))
    return node


def _connected(args: argparse.Namespace, ended: threading.Event, around: ExitStack) -> str | None:
    """Connect to the API, and wait for it if it is away; None if we were interrupted meanwhile."""
    said = False
    while not ended.is_set():
        try:
            return around.enter_context(connection(args))
        except UnavailableError as error:
            if not said:
                say(f"{error}; waiting for it")
            said = True
            _wait(ended, time.monotonic() + _LONGEST_LOOK / 6)
    return None


def _wait(ended: threading.Event, until: float, over: Callable[[], bool] = lambda: False) -> None:
    """Wait until a time, unless we are interrupted, or it is over."""
    while time.monotonic() < until and not over() and not ended.wait(PROMPT):
        pass


class _Up:
    """A node that is up."""

    def __init__(
        self,
        args: argparse.Namespace,
        node: "Node | None",
        environment: Mapping[str, str],
        ended: threading.Event,
        api: str,
    ) -> None:
        from flows.rollout.workers import COORDINATOR

        self._args, self._node, self._ended, self._api = args, node, ended, api
        self._name = COORDINATOR if node is None else node.host
        self._environment = self._of_worker(environment)
        self._worker: subprocess.Popen[bytes] | None = None
        self._due, self._away = 0.0, False
        self._lost = False  # whether the API was away since the worker began
        self._began = False  # whether a worker ever did

    def run(self) -> None:
        """Join, work and report until interrupted."""
        look = 0.0
        try:
            while not self._ended.is_set():
                with self._noticed():
                    if self._worker is None:
                        look = self._join()
                    elif self._node is not None and time.monotonic() >= self._due:
                        self._report(self._node)
                    else:
                        self._ask()
                    self._answered()
                _wait(self._ended, time.monotonic() + min(look or PROMPT, _LONGEST_LOOK), self._is_over)
                self._look_at_worker()
        finally:
            self._stop()

    def _join(self) -> float:
        """Make the queue, report, and start the worker; return the seconds between two polls."""
        from flows.rollout.joining import crash_runs_of, hosts_of_pool, make_queue
        from prestow.fleet.polling import poll_seconds

        if self._node is not None:
            self._report(self._node)
            if not self._began:
                crash_runs_of(self._name)  # of a worker before this one that was killed, with its host maybe
        make_queue(self._name, None if self._node is None else 1)
        look = float(self._environment.get(_POLL) or poll_seconds(hosts_of_pool()))
        self._start(look)
        document = {"name": self._name, "queue": self._name, "api": self._api, "poll_seconds": look}
        also = ", and those that name no host," if self._args.default_queue else ""
        emit(document, f"{self._name} takes the runs of its queue{also} from {self._api}", self._args)
        return look

    def _report(self, node: "Node") -> None:
        from flows.rollout.joining import check_name
        from flows.rollout.reporting import publish

        check_name(node)
        publish(node)
        self._due = time.monotonic() + node.settings.report_minutes * _MINUTE

    def _ask(self) -> None:
        """Ask the API for its health."""
        from prefect.context import SyncClientContext

        with SyncClientContext.get_or_create() as api:
            if (error := api.client.api_healthcheck()) is not None:
                raise error

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """Take an API that is away as something that passes, and say so once."""
        from httpx import HTTPStatusError, TransportError

        try:
            yield
        except (TransportError, HTTPStatusError) as error:
            if isinstance(error, HTTPStatusError) and error.response.status_code < 500:  # noqa: PLR2004 - its own fault
                raise
            if not self._away:
                why = printable(str(error)) or type(error).__name__
                say(f"the Prefect API at {self._api} does not answer ({why}); waiting for it")
            self._away = self._lost = True

    def _answered(self) -> None:
        if self._away:
            say(f"the Prefect API at {self._api} answers again")
        self._away = False

    def _start(self, look: float) -> None:
        from flows.rollout.workers import DEFAULT

        command = [
            *(sys.executable, "-P", "-c", _PROGRAM, "worker", "start", "--type", "process", "--pool", _pool()),
            *("--work-queue", self._name, "--name", self._name),
            *(("--work-queue", DEFAULT) if self._args.default_queue else ()),
        ]
        env = {**self._environment, _POLL: f"{look:g}"}
        self._lost, self._began = False, True
        self._worker = subprocess.Popen(command, cwd="/", env=env, stdout=2, start_new_session=True)

    def _of_worker(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables for the worker: those that we were given, and how the API is reached."""
        from flows.orchestration import LEAN, QUIET
        from prestow.fleet.rollout import RUN_HEARTBEAT_SECONDS

        ours = {name: value for name, value in os.environ.items() if name not in LEAN.keys() | QUIET.keys()}
        given = {name: value for name, value in environment.items() if name in LEAN.keys() | QUIET.keys()}
        ours.setdefault(_HEARTBEAT, f"{RUN_HEARTBEAT_SECONDS:g}")
        named = {"PRESTOW_HOME": self._args.home, "PRESTOW_NAMESPACE": self._args.namespace}
        return {**ours, **given, **named, "PRESTOW_NODE_NAME": self._name} if self._node else {**ours, **given}

    def _is_over(self) -> bool:
        return self._worker is not None and self._worker.poll() is not None

    def _look_at_worker(self) -> None:
        """Let a worker that gave up since the API was away be started again; any other end is ours, too."""
        if self._worker is None or not self._is_over() or self._ended.is_set():
            return
        status, self._worker = self._worker.returncode, None
        with self._noticed():
            self._ask()
        if not self._lost:
            raise UnavailableError(
                f"the worker of {self._name} ended by itself with status {status}; its own messages say why: "
                "run `prestow node up` again"
            )

    def _stop(self) -> None:
        """End the worker and its runs, and report a last time."""
        if self._worker is not None and self._worker.poll() is None:
            _end(self._worker)
        if self._node is not None and self._began and not self._away:
            from flows.rollout.joining import crash_runs_of
            from flows.rollout.reporting import publish

            with suppress(Exception):  # the API may be away by now
                crash_runs_of(self._name)
                publish(self._node)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """End a worker, whose runs end first: it would wait for them."""
    runs = _children(worker.pid)
    for pid in (*runs, worker.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        worker.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        for pid in (*_children(worker.pid), worker.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.wait()


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return []


def _pool() -> str:
    from flows.rollout.workers import POOL

    return POOL
