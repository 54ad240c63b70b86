"""Many pulls on one host: a few at a time, each a flow run of its own, and a table of what came of them."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial

from prefect.artifacts import create_table_artifact

from flows.forms.markdown import code
from flows.forms.results import Prepulled, PrepulledImage, Pulled
from flows.pull import pull
from prestow.cancellation import check, current
from prestow.errors import PrestowError, printable
from tasks.opened import open_node
from tasks.threads import waited

_KEY = "prestow-prepull"
_REASON = 500  # characters of why an image is not here
_TOLD = 10  # images that are named when some are not here; the table names all
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


def pull_each(
    home: str,
    references: Sequence[str],
    *,
    platform: str | None,
    parallel: int | None,
    driver: str,
    namespace: str | None = None,
    unpack: bool = True,
    credentials: str | None = None,
) -> Prepulled:
    """Pull all, and publish the table; an image named twice is pulled once.

    Raises:
        PrepullError: some are not here; all were tried.
        CancelledError: the pre-pull was cancelled.
        InvalidError: the credentials do not say which registry they are for, and there may be several.
        NotFoundError: there are no such credentials.
    """
    node = open_node(home, namespace)
    if credentials:
        node.sources.check_named(credentials, bound=True)
    wanted = list(dict.fromkeys(references))
    options = {
        "platform": platform, "driver": driver, "home": home, "namespace": namespace, "unpack": unpack,
        "credentials": credentials,
    }  # fmt: skip
    pool = ThreadPoolExecutor(parallel or node.settings.parallel_images)
    runs: list[Future[PrepulledImage]] = []
    try:
        runs += [pool.submit(copy_context().run, partial(_pulled, reference, **options)) for reference in wanted]
        result = Prepulled(node.host, tuple(waited(run) for run in runs))
        check()
    except BaseException:
        if (token := current()) is not None:
            token.cancel("the pre-pull was interrupted")
        wait(runs, timeout=_LAST)
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who is interrupted does not wait for a silent registry
    create_table_artifact(
        table=[_row(image) for image in result.images], key=_KEY, description=f"Images on {node.host}"
    )
    if result.failed:
        raise PrepullError(result)
    return result


def _pulled(reference: str, **options: object) -> PrepulledImage:
    state = pull(reference, return_state=True, **options)
    if state.is_completed():
        pulled: Pulled = state.result()
        return PrepulledImage(reference, pulled.name, pulled.digest, pulled.fetched_bytes, None)
    return PrepulledImage(reference, None, None, 0, printable(str(state.result(raise_on_failure=False)), _REASON))


def _row(image: PrepulledImage) -> dict[str, str | int]:
    """Lay one image out for the artifact, where text is Markdown: as code it stays what it is."""
    return {
        "image": code(image.reference),
        "digest": image.digest or "-",
        "fetched bytes": image.fetched_bytes,
        "state": f"not here: {code(image.error, _REASON)}" if image.error else "here",
    }
