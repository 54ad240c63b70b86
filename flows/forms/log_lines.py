"""What the log of a run says in a few lines: what was resolved, what is here and what is fetched, how it ended."""

from collections import Counter
from collections.abc import Mapping
from functools import singledispatch

from flows.forms.figures import duration
from flows.forms.markdown import size
from flows.forms.results import Bundled, Prepulled, Pulled, Ran, RolledOut
from prestow.digest import Digest
from prestow.fsck.run import FsckResult
from prestow.gc.prune import Pruned
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image

_SHORT = 10.0  # seconds up to which tenths are of interest


def resolved(name: str, target: Descriptor, server: str | None) -> str:
    """Return what a reference points to, and which server said so."""
    said = f"as {server} says" if server else "without asking a registry"
    return f"resolved {name}: {target.digest}, {said}"


def planned(image: Image | Artifact, missing: Mapping[Digest, int]) -> str:
    """Return how much of an image is here, and how much is to be fetched; ``missing`` has the bytes of each blob."""
    blobs = image.layers if isinstance(image, Image) else image.blobs
    total = sum(blob.descriptor.size for blob in blobs)
    fetch = sum(missing.values())
    what = f"{image.platform}, {len(blobs)} layer" if isinstance(image, Image) else f"an artifact, {len(blobs)} blob"
    what += f"{'' if len(blobs) == 1 else 's'} of {size(total)}"
    if not fetch:
        return f"{what}, all here"
    lacking = sum(1 for count in missing.values() if count)
    return f"{what}: {size(total - fetch)} here, {size(fetch)} in {lacking} of them to fetch"


@singledispatch
def ending(result: object) -> str:  # noqa: ARG001 - other results say more
    """Return how a run ended that has this result."""
    return "done"


@ending.register
def _(result: Pulled) -> str:
    if result.foreseen is not None:
        return "the dry run has ended; only the manifest and config were fetched"
    done = result.checkpoint in ("tagged", "handed-over")
    what = f"done: {result.name} is here" if done else f"stopped after {result.checkpoint}; the next pull resumes there"
    moved = f"{size(result.fetched_bytes)} fetched, {size(result.reused_bytes)} reused"
    used = "" if result.handed_over is None else f"; {result.handed_over.runtime} uses it"
    return f"{what}: {moved}, in {_seconds(result.seconds['total'])}{used}"


@ending.register
def _(result: Bundled) -> str:
    return (
        f"done: bundle {result.directory} of {result.image} ({result.driver}), in {_seconds(result.seconds['total'])}"
    )


@ending.register
def _(result: Ran) -> str:
    removed = ", and it was removed" if result.removed else ""
    took = _seconds(result.seconds["total"])
    return f"done: the process of container {result.id} ended with status {result.status}{removed}, after {took}"


@ending.register
def _(result: Prepulled) -> str:
    fetched = sum(image.fetched_bytes for image in result.images)
    return f"done: {_count(len(result.images), 'image')} here on {result.host}, {size(fetched)} fetched"


@ending.register
def _(result: Pruned) -> str:
    left = f"; {len(result.left)} could not be removed" if result.left else ""
    if not result.removed:
        return f"done: there was nothing to remove{left}"
    counts = Counter(removed.kind for removed in result.removed).items()
    freed = f"{'would free' if result.dry_run else 'freed'} {size(result.bytes)}"
    return f"done: {freed}: {', '.join(_count(number, kind) for kind, number in counts)}{left}"


@ending.register
def _(result: FsckResult) -> str:
    mended = sum(len(each.mended) for each in result.every)
    return f"done: {_count(len(result.images), 'image')} checked, {mended} repaired, nothing is damaged"


@ending.register
def _(result: RolledOut) -> str:
    return f"done: {result.image_set} · generation {result.generation}: {result.end}: {result.reason}"


@ending.register
def _(result: str) -> str:
    return f"done: {result} takes the credentials"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _SHORT else duration(seconds)
