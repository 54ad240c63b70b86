"""What is around every flow that a terminal runs: settings looked at, Prefect connected and quiet, progress shown.

Whatever is wrong with the store or the settings is said before Prefect is waited for. Prefect would print the
traceback of a failed run: the API keeps it, a person gets one sentence, unless they chose Prefect's level themselves.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.cli.interruption import interruptible
from flows.cli.output import answer_reserved, say
from prestow.content.disk import check_descriptors

_LEVEL = "PREFECT_LOGGING_LEVEL"
_CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"
_ALLOCATIONS = 100_000
_DESCRIPTORS = 24  # with fewer, Prefect's threads end without a word, and the run waits for them


@contextmanager
def session(args: argparse.Namespace, *, announce: Callable[[str], object] | None = say) -> Iterator[None]:
    """Run flows in this block, on the store that ``args`` names; import them inside, once their API is known.

    Args:
        args: the command's arguments.
        announce: takes a sentence about what takes seconds, such as the start of a server.

    Raises:
        InvalidError: the store is none, or a setting has a value that it cannot have.
        UnavailableError: the Prefect API does not answer.
    """
    elsewhere(args)
    from prestow.store.node import open_node

    _ = open_node(args.home, args.namespace).settings
    with connection(args, announce=announce):
        yield


@contextmanager
def connection(args: argparse.Namespace, *, announce: Callable[[str], object] | None = say) -> Iterator[str]:
    """Use Prefect in this block, and no store; gives the URL of its API.

    Raises:
        UnavailableError: the Prefect API does not answer, or hardly any file can be opened.
    """
    elsewhere(args)
    check_descriptors("beginning a flow", _DESCRIPTORS)
    # Prefect is a million objects, none of them garbage: do not look for any among them all the time, nor at the end
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    with ExitStack() as around:
        around.callback(gc.freeze)
        last = around.enter_context(interruptible(as_json=args.json))
        if args.json or args.format:
            around.enter_context(answer_reserved())
        quieten(os.environ)
        from flows.cli.progress import shown
        from flows.connection import using_api

        api = around.enter_context(using_api(Path(args.home), announce=None if args.progress == "none" else announce))
        from flows.runs.cancelling import OpenRuns, noticed

        last.callback(around.enter_context(noticed(OpenRuns())).cancel)
        last.callback(around.enter_context(shown(args.progress)).end)
        yield api


def elsewhere(args: argparse.Namespace) -> None:
    """Let the store's warm process run this command, if it may and can: then it ends here, with that one's status.

    Raises:
        PrestowError: the store is none; or the warm process was killed in the middle of the command.
    """
    if args.words is None:
        return
    from flows.warm import client

    status = client.run(Path(args.home), args.words)
    if status is not None:
        sys.exit(status)
    args.words = None


def quieten(env: MutableMapping[str, str]) -> None:
    """Keep Prefect's log out of the terminal, unless its level was chosen."""
    if _LEVEL not in env:
        env.setdefault(_CONSOLE_LEVEL, "CRITICAL")
