"""Many pulls on one host: a few at a time, each a flow run of its own, and a report of what is here then."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from flows.forms.results import Prepulled, PrepulledImage, Pulled
from flows.pull import pull
from flows.rollout.reporting import report_from_run
from prestow.cancellation import check, current
from prestow.errors import PrestowError, printable
from prestow.store.node import Node
from tasks.opened import open_node
from tasks.threads import waited

W = TypeVar("W")
R = TypeVar("R")

_REASON = 500  # characters of why an image is not here
_TOLD = 10  # images that are named when some are not here; the report names all
_LAST = 1.0  # seconds that the pulls of a pre-pull that is to end have, to tell the API so


class PrepullError(PrestowError):
    """Some images of a pre-pull are not here; the others are. ``result`` tells of each."""

    def __init__(self, result: Prepulled) -> None:
        """Name the images that failed, with the reason of each."""
        failed = [image for image in result.images if image.error is not None]
        reasons = "; ".join(f"{printable(image.reference)}: {image.error}" for image in failed[:_TOLD])
        reasons += f"; and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
        super().__init__(f"{len(failed)} of {len(result.images)} images are not here: {reasons}")
        self.result = result


@dataclass(frozen=True, slots=True)
class Options:
    """How all images of a run are pulled; see the parameters of :mod:`flows.pull`."""

    home: str
    namespace: str | None = None
    platform: str | None = None
    driver: str = "auto"
    unpack: bool = True
    credentials: str | None = None
    parallel: int | None = None
    hand_over: str | None = None
    pin: bool = False

    def open(self) -> Node:
        """Open the store, and check the credentials.

        Raises:
            InvalidError: the credentials do not say which registry they are for, and there may be several.
            NotFoundError: there are no such credentials.
        """
        node = open_node(self.home, self.namespace)
        if self.credentials:
            node.sources.check_named(self.credentials, bound=True)
        return node

    def pull(self, reference: str, name: str | None = None) -> PrepulledImage:
        """Pull one image in a run of its own; a failure is a result."""
        state = pull(
            reference, self.platform, name, driver=self.driver, home=self.home, namespace=self.namespace,
            unpack=self.unpack, credentials=self.credentials, hand_over=self.hand_over, pin=self.pin, return_state=True,
        )  # fmt: skip
        if state.is_completed():
            found: Pulled = state.result()
            return PrepulledImage(reference, found.name, found.digest, found.fetched_bytes, None)
        return PrepulledImage(reference, None, None, 0, printable(str(state.result(raise_on_failure=False)), _REASON))


def pull_each(references: Sequence[str], options: Options) -> Prepulled:
    """Pull all, and report what is here; an image named twice is pulled once.

    Raises:
        PrepullError: some are not here; all were tried.
        CancelledError: the pre-pull was cancelled.
        InvalidError: as :meth:`Options.open`.
        NotFoundError: as there.
    """
    node = options.open()
    wanted = list(dict.fromkeys(references))
    result = Prepulled(node.host, in_parallel(node, wanted, options.pull, options.parallel))
    conclude(node, "", result)
    return result


def in_parallel(node: Node, wanted: Sequence[W], work: Callable[[W], R], parallel: int | None = None) -> tuple[R, ...]:
    """Do the same with several images of a run, a few at a time, and return the results in their order.

    Raises:
        CancelledError: the run is to end.
    """
    pool = ThreadPoolExecutor(parallel or node.settings.parallel_images)
    runs: list[Future[R]] = []
    try:
        runs += [pool.submit(copy_context().run, partial(work, each)) for each in wanted]
        results = tuple(waited(run) for run in runs)
        check()
    except BaseException as error:
        if (token := current()) is not None and not isinstance(error, Exception):
            token.cancel("the pre-pull was interrupted")
        wait(runs, timeout=_LAST)
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who is interrupted does not wait for a silent registry
    return results


def conclude(node: Node, of: str, result: Prepulled) -> None:
    """Note what a run for a set, or for none, could not bring here, and report the host.

    Raises:
        PrepullError: there is such an image.
    """
    node.sets.fail(of, [(image.reference, image.error) for image in result.images if image.error is not None])
    report_from_run(node)
    if result.failed:
        raise PrepullError(result)
