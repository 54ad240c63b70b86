"""Running a bundle through runc or crun, in the foreground.

    leftovers of a killed run are removed  →  run  →  exit status  →  nothing is left

The runtime stays between us and the container and passes signals on; we pass ours on to it. It gets the three standard
streams, no other descriptor, no environment of ours and ``/`` for its working directory: what it inherits, a container
may get hold of. Whether the container's process ever started is known from the pid file, which the runtime writes then:
without it, a failure is the runtime's own, and its log says why.

If the caller is interrupted by an exception, or cancelled, the container is asked to stop and, after a grace, killed
before the exception goes on. If the caller is killed, the container lives on, as with other engines; the next run of
its id says so.
"""

import json
import os
import select
import subprocess
import termios
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prestow.cancellation import PROMPT, current
from prestow.content.disk import translated
from prestow.errors import AlreadyExistsError, PreconditionError, RuntimeFailedError, printable
from prestow.runtime.binary import ENVIRONMENT, Runtime
from prestow.runtime.bundle import LOG, PID, check_container_id, read_spec, running
from prestow.runtime.group import placed
from prestow.runtime.masking import Masked
from prestow.runtime.output import LastLines, Output, tee
from prestow.runtime.relay import Relay
from prestow.runtime.sink import Sink, to_our_stderr
from prestow.runtime.state import container_state, delete_container, stop_container

_LOG_LIMIT = 1 << 20
_COMPLAINT_LIMIT = 1000
_GRACE_SECONDS = 3  # for a container to end when its run is cancelled, which is to take no more than five


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container's process ended.

    Attributes:
        status: its exit status; 128 and the signal's number where a signal ended it.
        last_lines: of what it wrote, masked, escaped and bounded; of its standard error alone, where it had our
            streams.
    """

    status: int
    last_lines: tuple[str, ...] = ()


def run_container(  # noqa: PLR0913 - a process's streams, and what is not to be recorded of them
    runtime: Runtime,
    bundle: Path,
    container_id: str,
    *,
    state_root: Path,
    stdin: int = subprocess.DEVNULL,
    output: Output | None = None,
    secrets: Collection[str] = (),
) -> Exit:
    """Run a bundle until its process ends.

    While this runs in the main thread and the container has our streams, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and
    SIGUSR2 go to it. Whoever captures the output stops it by an exception from a signal's handler, by cancelling, or,
    from any thread or process, by :func:`~prestow.runtime.state.stop_container`.

    Args:
        runtime: what runs it.
        bundle: its folder.
        container_id: its name.
        state_root: where the runtime keeps its records; made 0700 where it is missing.
        stdin: a descriptor for the process to read from; the default reads nothing.
        output: takes what the process writes to both its streams, for a record; without it they are ours.
        secrets: names of variables of the process whose values are masked in what ``output`` gets, and in the last
            lines; not in what goes to our own streams.

    Raises:
        InvalidError: the id or the bundle is not one.
        NotFoundError: there is no such bundle.
        AlreadyExistsError: a container of this id, or this bundle, is running.
        PreconditionError: the bundle wants a terminal, and ``stdin`` is none or the output is captured.
        RuntimeFailedError: the process was not started.
        CancelledError: the run was cancelled; the container was stopped, by the image's own signal if it names one.
    """
    check_container_id(container_id)
    spec = read_spec(bundle)
    terminal = spec.terminal
    if terminal and (output is not None or stdin < 0 or not os.isatty(stdin)):
        raise PreconditionError(f"container {container_id}: its bundle wants a terminal, and here is none")
    stop = partial(
        stop_container,
        runtime,
        container_id,
        state_root=state_root,
        signal=spec.stop_signal,
        grace_seconds=_GRACE_SECONDS,
    )
    with (
        running(bundle),
        placed(bundle, spec, container_id) as folder,
        _cleared(runtime, container_id, bundle, state_root),
    ):
        command = [str(runtime.binary), "--root", str(state_root.absolute())]
        command += ["--log", str(bundle.absolute() / LOG), "--log-format", "json", "run"]
        command += ["--pid-file", str(bundle.absolute() / PID), "--bundle", str(folder.absolute()), "--", container_id]
        relay = Relay() if output is None else nullcontext()
        with relay as signals, _terminal_restored(stdin if terminal else None):
            process = _started(command, stdin, captured=output is not None, own_group=not terminal)
            if signals is not None:
                signals.to(process)
            last = LastLines()
            with closing(Masked(tee(last, output), spec.values(secrets))) as record:
                into = tee(record, to_our_stderr if output is None else None)
                status = _watched(process, Sink(process, bundle / PID, into, mute=terminal), stop)
        return Exit(_status(runtime, bundle, container_id, status), last.lines())


@contextmanager
def _cleared(runtime: Runtime, container_id: str, bundle: Path, state_root: Path) -> Iterator[None]:
    """Yield the block an id that is free and no files of an earlier run, and leave the id free."""
    with translated(f"container {container_id}"):
        state_root.mkdir(0o700, parents=True, exist_ok=True)
        state = container_state(runtime, container_id, state_root=state_root)
        if state is not None and state.alive:
            raise AlreadyExistsError(
                f"container {container_id}: it is {state.status}; `prestow containers stop {container_id}` ends it"
            )
        delete_container(runtime, container_id, state_root=state_root)
        for name in (LOG, PID):
            (bundle / name).unlink(missing_ok=True)
    try:
        yield
    finally:
        delete_container(runtime, container_id, state_root=state_root)


@contextmanager
def _terminal_restored(stdin: int | None) -> Iterator[None]:
    """Put the terminal back as it was, in case the runtime is killed while the terminal is raw."""
    if stdin is None:
        yield
        return
    attributes = termios.tcgetattr(stdin)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(stdin, termios.TCSADRAIN, attributes)


def _started(command: list[str], stdin: int, *, captured: bool, own_group: bool) -> subprocess.Popen[bytes]:
    """Start the runtime; in a process group of its own, so that Ctrl-C reaches it once: by us, not by the terminal."""
    try:
        return subprocess.Popen(
            command,
            env=ENVIRONMENT,
            cwd="/",
            stdin=stdin,
            stdout=subprocess.PIPE if captured else None,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0 if own_group else None,
        )
    except OSError as error:
        raise RuntimeFailedError(f"container runtime {command[0]}: it does not run: {error.strerror}") from error


def _watched(process: subprocess.Popen[bytes], sink: Sink, stop: Callable[[], None]) -> int:
    """Pass the output on until the runtime ends, and give its return code; stop the container on an exception."""
    try:
        _pass_on(sink)
        _wait_for(process)
        return process.wait()
    except BaseException:
        with suppress(RuntimeFailedError), _last_words(sink):
            stop()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        raise
    finally:
        process.kill()
        process.wait()
        sink.close()


def _pass_on(sink: Sink) -> None:
    """Pass on what the process writes, as long as the work that it is for is not cancelled."""
    while streams := sink.open():
        for descriptor in _ready(streams, sink.idle):
            sink.read(descriptor)


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process to end, as long as the work that it is for is not cancelled."""
    if process.poll() is not None:
        return
    descriptor = os.pidfd_open(process.pid)
    try:
        _ready([descriptor])
    finally:
        os.close(descriptor)


def _ready(descriptors: Iterable[int], meanwhile: Callable[[], object] = lambda: None) -> list[int]:
    """Wait until some of the descriptors can be read or have ended, and return these."""
    token = current()
    while not (found := _polled(descriptors, PROMPT)):  # a signal that comes just before is handled after it
        if token is not None:
            token.check()
        meanwhile()
    return found


def _polled(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)]


@contextmanager
def _last_words(sink: Sink) -> Iterator[None]:
    """Pass on what a container writes while it stops; it would wait for us if we did not read it."""

    def read() -> None:
        while streams := sink.open():
            for descriptor in _polled(streams, None):
                with suppress(Exception):  # this may be what ended the run
                    sink.read(descriptor)

    reader = threading.Thread(target=copy_context().run, args=(read,), daemon=True)
    reader.start()
    yield
    reader.join(_GRACE_SECONDS)


def _status(runtime: Runtime, bundle: Path, container_id: str, status: int) -> int:
    """Return the process's own exit status, as opposed to a failure of the runtime."""
    name = runtime.name or runtime.binary.name
    if status < 0:
        raise RuntimeFailedError(f"container {container_id}: {name} was ended by signal {-status}")
    if status != 0 and not (bundle / PID).exists():
        raise RuntimeFailedError(f"container {container_id}: {name} did not start it: {_complaint(bundle / LOG)}")
    return status


def _complaint(log: Path) -> str:
    """Return the last error of a runtime's log."""
    found = "it did not say why"
    with suppress(OSError), log.open("rb") as file:
        for line in file.read(_LOG_LIMIT).splitlines():
            with suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                if entry["level"] in {"error", "fatal"}:
                    found = printable(str(entry["msg"]), _COMPLAINT_LIMIT)
    return found
