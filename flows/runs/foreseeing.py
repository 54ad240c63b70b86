"""What a pull would do, found without doing it: for ``dry_run``."""

from collections.abc import Mapping

from flows.forms.figures import duration
from flows.forms.markdown import size
from flows.forms.results import Foreseen
from prestow.digest import Digest
from prestow.oci.artifact import Artifact
from prestow.oci.image import AnyBlob, Image
from prestow.reference import LayoutReference, parse_source
from prestow.registry.endpoints import every_endpoint
from prestow.registry.health import Aside
from prestow.registry.quota import Quota
from prestow.space.admission import outlook
from prestow.space.estimate import missing_blob
from prestow.store.node import Node
from tasks.journal import Journal
from tasks.run_log import tell


def blobs_of(image: Image | Artifact) -> tuple[AnyBlob, ...]:
    """Return what a pull fetches after the documents: the layers of an image, all blobs of an artifact."""
    return image.layers if isinstance(image, Image) else image.blobs


def missing_bytes(node: Node, image: Image | Artifact) -> dict[Digest, int]:
    """Return for each of these blobs how many bytes of it are still to be fetched."""
    keep_blobs = node.settings.keep_blobs
    return {blob.descriptor.digest: missing_blob(blob, node.content, keep_blobs=keep_blobs) for blob in blobs_of(image)}


def foresee(
    node: Node, reference: str, image: Image | Artifact, driver: str, missing: Mapping[Digest, int], journal: Journal
) -> Foreseen:
    """Return what a pull would do, and write it into the run's log.

    Args:
        node: the store.
        reference: where the image would come from.
        image: the image; its documents are in the store.
        driver: the snapshotter.
        missing: see :func:`missing_bytes`.
        journal: of the run; it knows what the servers said.

    Raises:
        UnsupportedError: the snapshotter does not work here.
    """
    source, space = parse_source(reference), outlook(node, image, driver)
    sizes = {blob.descriptor.digest: blob.descriptor.size for blob in blobs_of(image)}
    fetch = sum(missing.values())
    foreseen = Foreseen(
        server=str(source.path) if isinstance(source, LayoutReference) else journal.server,
        set_aside=() if isinstance(source, LayoutReference) else _set_aside(node, source.domain),
        fetch_bytes=fetch,
        reuse_bytes=sum(sizes.values()) - fetch,
        needed_bytes=space.needed,
        free_bytes=space.free,
        fits=space.fits,
        quota=journal.quota,
    )
    for line in summary(foreseen):
        tell(line)  # the page of a run shows its log
    return foreseen


def summary(foreseen: Foreseen) -> list[str]:
    """Return sentences that say what a pull would do."""
    lines = [
        f"would fetch {size(foreseen.fetch_bytes)}, reuse {size(foreseen.reuse_bytes)}",
        f"needs about {size(foreseen.needed_bytes)} of the disk, {size(foreseen.free_bytes)} are free"
        + ("" if foreseen.fits else ": the pull would be refused; run `prestow prune`"),
    ]
    return [*lines, *([_quota(foreseen.quota)] if foreseen.quota is not None else [])]


def _quota(quota: Quota) -> str:
    """Return what is left, of what, for how long and for whom, as far as the registry says."""
    text = f"{quota.remaining} of {quota.limit}" if quota.limit is not None else str(quota.remaining)
    text = f"the registry has {text} requests left"
    text += f" within {duration(quota.window)}" if quota.window is not None else ""
    text += f" for {quota.source}" if quota.source else ""
    return text + (f"; the quota is renewed in {duration(quota.reset)}" if quota.reset is not None else "")


def _set_aside(node: Node, domain: str) -> tuple[Aside, ...]:
    mirrors = {each.base.origin for each in every_endpoint(domain, node.registry_options) if each.is_mirror}
    return tuple(aside for aside in node.health.every() if aside.origin in mirrors)
