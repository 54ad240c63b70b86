"""The commands that people type, as processes: what they do to a store, and what is done when they end with status 0.

Each is the real command in an interpreter of its own, with all of Prefect and its threads; its records go to the server
that ``PREFECT_API_URL`` names. Its own system calls are counted, not those of the runtime that it starts.
"""

import os
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prestow.containers.process import status
from prestow.errors import NotFoundError
from prestow.runtime.bundle import ROOTFS
from tests.crash.supervisor import Call, Ended, supervised
from tests.crash.verbs import ALIAS, BOX, EMPTY, Job, Verb, bundle, damage, forget, pull, spoil, tag

PROJECT = Path(__file__).parents[2]
_UNFORESEEN = 1  # status of an exception that is none of ours, each of which has another one, or of a part that failed
_GONE = NotFoundError.exit_code
_POLL_MILLISECONDS = 20

Words = Callable[[Job], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Command(Verb):
    """A command.

    Attributes:
        words: its arguments.
        done: what is done when it ends with status 0.
    """

    words: Words = lambda _: ()
    done: Words = lambda _: ()

    def supervised(self, job: Job, judge: Callable[[Call], int], *, reading: bool = False) -> Ended:
        """Run it as a process about whose system calls ``judge`` decides."""
        output = os.memfd_create("output")
        try:
            ended = supervised(lambda _: _execute(job, self.words(job), output), judge, reading=reading)
            text = os.pread(output, 1 << 20, 0).decode().strip()
        finally:
            os.close(output)
        if ended.killed:
            return ended
        if ended.status == 0:
            return replace(ended, told=[*self.done(job)])
        partly = any(line.startswith("kept: ") for line in text.splitlines())  # prune, of what it could not remove
        unforeseen = (ended.status == _UNFORESEEN and not partly) or "Traceback" in text
        return replace(ended, error=text or "no message", foreign=text if unforeseen else "")


def _command(words: Words, done: Words, *, again: int = 0, **options: Any) -> Command:
    """Return a command; the same again must succeed, or end with status ``again`` if all is done by then."""

    def run(job: Job) -> None:
        ended = subprocess.run(_argv(words(job)), env=_environment(job), cwd=PROJECT, capture_output=True, check=False)
        assert ended.returncode in {0, again}, f"{words(job)}: {ended.returncode}\n{ended.stderr.decode()}"
        for word in done(job):
            job.say(word)

    return Command(run, words=words, done=done, **options)


def _execute(job: Job, words: tuple[str, ...], output: int) -> None:
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(PROJECT)
    os.execve(sys.executable, _argv(words), _environment(job))


def _argv(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-P", "-m", "prestow", *words]


def _environment(job: Job) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PRESTOW_HOME": str(job.home), "PRESTOW_COLD": "1"}


def _runs_on(job: Job) -> None:
    """Start a container whose process waits for somebody to write what it reads."""
    bundle(job)
    motd = job.node.bundle_folder(BOX) / ROOTFS / "etc/motd"
    motd.unlink()
    os.mkfifo(motd)
    words = ("run", "--id", BOX, "--pull", "never", job.name)
    runner = subprocess.Popen(_argv(words), env=_environment(job), cwd=PROJECT, stdin=subprocess.DEVNULL)
    ended = select.poll()
    ended.register(os.pidfd_open(runner.pid), select.POLLIN)
    while status(job.node, BOX) != "running":
        assert not ended.poll(_POLL_MILLISECONDS), f"{words}: {runner.wait()}"


def _image(job: Job) -> tuple[str, ...]:
    return f"name {job.name}", f"snapshot {job.image().chain_id}"


def _container(_: Job) -> tuple[str, ...]:
    return (f"container {BOX}",)


def _no_container(_: Job) -> tuple[str, ...]:
    return (f"no-container {BOX}",)


def _stopped(job: Job) -> tuple[str, ...]:
    assert status(job.node, BOX) == "stopped"
    return _container(job)


def _bundle(job: Job) -> tuple[str, ...]:
    return ("bundle", "--id", BOX, job.name, str(job.node.bundle_folder(BOX)))


def _fsck(_: Job) -> tuple[str, ...]:
    return ("fsck", "--all", "--repair")


COMMANDS = {
    "prestow-pull": _command(lambda job: ("pull", job.reference), _image),
    "prestow-bundle": _command(_bundle, _container, states=(pull,)),
    "prestow-run": _command(lambda job: ("run", "--rm", "--id", BOX, job.reference), _no_container),
    "prestow-stop": _command(
        lambda _: ("containers", "stop", "--grace", "0", BOX),
        _stopped,
        states=(pull,),
        here=(_runs_on,),
        leaves="runs",
    ),
    "prestow-rm": _command(
        lambda _: ("containers", "rm", BOX), _no_container, again=_GONE, states=(pull,), here=(bundle,)
    ),
    "prestow-tag": _command(
        lambda job: ("images", "tag", job.name, ALIAS), lambda _: (f"name {ALIAS}",), states=(pull,)
    ),
    "prestow-forget": _command(
        lambda job: ("images", "rm", job.name), lambda job: (f"no-name {job.name}",), again=_GONE, states=(pull,)
    ),
    "prestow-prune": _command(lambda _: ("prune",), lambda _: (EMPTY,), states=(pull, forget)),
    "prestow-fsck": _command(_fsck, _image, states=(pull, damage), repairs=True),
    "prestow-rebuild": _command(_fsck, _image, states=(pull, tag, spoil), repairs=True),
}
"""By name; each starts from the states that the engine's functions make, and the same again is success."""
