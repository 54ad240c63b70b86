"""A pull under way: the lease that protects what it made so far, its journal, and where it is to be held or to stop.

    with pulling(home, reference, name=…, stop_after="layer-stored") as run:
        run.target = resolve(…);  run.reached("resolved")        # leaves the block when it is to stop there
    run.pulled()                                                 # what was reached, in either case

The flows stay straight wiring: whether to hold or stop, what to wait for and what to report is here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from prefect.futures import PrefectFuture

from flows.forms import log_lines
from flows.forms.approval_page import describe
from flows.forms.layers_table import publish_table
from flows.forms.results import Foreseen, Pulled, PulledLayer
from flows.runs.approval import hold
from flows.runs.foreseeing import blobs_of, foresee, missing_bytes
from flows.runs.handing_over import runtime_for
from flows.runs.publishing import published
from prestow.cancellation import check
from prestow.checkpoints import UNPACKING, Checkpoint
from prestow.content.plan import state_of
from prestow.errors import InvalidError
from prestow.handover.hand_over import HandOver
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import AnyBlob, Image, Layer
from prestow.oci.lookup import holds_artifact, holds_documents
from prestow.platforms import platform_or_host
from prestow.reference import image_name
from prestow.registry.artifact import fetch_artifact
from prestow.registry.fetch import fetch_manifest
from prestow.registry.layout_source import LayoutSource
from prestow.store.node import Node
from tasks.journal import Journal, journal, note_expected, recorded_step
from tasks.opened import open_node
from tasks.run_log import send, tell


class _Stop(Exception):  # noqa: N818 - not an error: the run was asked to end here
    """Leaves the block of a run at the checkpoint it was to stop after."""


@dataclass(slots=True)
class Pulling:
    """One pull: what it knows, step by step."""

    node: Node
    reference: str
    name: str
    stop_after: Checkpoint | None
    hold_after: Checkpoint | None
    journal: Journal
    lease: str
    credentials: str | None = None
    began: float = field(default_factory=time.monotonic)
    checkpoint: str = ""
    target: Descriptor | None = None
    image: Image | Artifact | None = None
    platform: str | None = None
    unpack: bool = True
    dry_run: bool = False
    runtime: str | None = None
    foreseen: Foreseen | None = None
    handed_over: HandOver | None = None

    def reached(self, checkpoint: Checkpoint, *futures: Sequence[PrefectFuture[Any]]) -> None:
        """Note a lifecycle point, wait there for a person if the run is to, and leave the block if it is to stop there.

        ``futures`` are those of all steps so far, in order. They are waited for where the run is held or stops, and
        before the last of their checkpoints is noted; the first failure among them is raised as it was, not as a later
        step's.

        Raises:
            CancelledError: the person refused, or the run was cancelled.
        """
        if checkpoint in (self.stop_after, self.hold_after, "layer-applied" if self.unpack else "layer-stored"):
            for group in futures:
                for future in group:
                    future.result()
        check()
        self.checkpoint = checkpoint
        self._protect()
        if checkpoint == self.hold_after:
            self._hold(checkpoint)
        if checkpoint == self.stop_after:
            raise _Stop(f"stopped after {checkpoint}")

    def expect(self, driver: str) -> None:
        """Note how many bytes each layer still lacks; a dry run reports them, and leaves the block.

        Raises:
            UnsupportedError: in a dry run, the snapshotter does not work here.
        """
        assert self.image is not None  # noqa: S101 - its manifest is stored
        missing = missing_bytes(self.node, self.image)
        tell(log_lines.planned(self.image, missing))
        if any(missing.values()):
            send()
        if self.dry_run:
            self.foreseen = foresee(self.node, self.reference, self.image, driver, missing, self.journal)
            raise _Stop("the dry run has ended")
        for digest, count in missing.items():
            if count:
                note_expected("fetch_layer", digest, count)

    def _protect(self) -> None:
        """Put what is known by now under the lease, before anything of it is made."""
        if self.target is not None and self.checkpoint == "resolved":
            tell(log_lines.resolved(self.name, self.target, self.journal.server))
            self.node.leases.add(self.lease, "content", [self.target.digest])
        if self.image is not None and self.checkpoint == "manifest-stored":
            self.node.protect(self.lease, self.image)
            self._fetch_pruned(self.image)

    def _fetch_pruned(self, image: Image | Artifact) -> None:
        """Fetch the documents again, if a prune took one that it met before the lease held it."""
        source, content = self.node.source(self.reference, self.credentials), self.node.content
        if isinstance(image, Artifact):
            platform = platform_or_host(self.platform)
            if not holds_artifact(content, image.target, platform):
                fetch_artifact(source, content, image.target, platform)
        elif not holds_documents(content, image.target, image.platform):
            fetch_manifest(source, content, image.target, image.platform)

    def _hold(self, checkpoint: Checkpoint) -> None:
        """Wait for a person to approve of what is known by now."""
        assert self.target is not None  # noqa: S101 - the first checkpoint is reached when it is
        send()  # a person looks at the log now
        image = self.image if isinstance(self.image, Image) else None
        raw = None if image is None else self.node.content.read(image.config.digest)
        shown = self.target.digest if image is None else image.manifest.digest
        hold(checkpoint, shown, describe(self.name, checkpoint, self.target, self.image, raw))

    def pulled(self) -> Pulled:
        """Show what the run came to."""
        layers = self._layers()
        fetched = sum(layer.fetched_bytes for layer in layers)
        image = self.image if isinstance(self.image, Image) else None
        manifest = image.manifest if image else None
        if isinstance(self.image, Artifact) and len(self.image.manifests) == 1:
            (manifest,) = self.image.manifests
        platform = image.platform if image else manifest and manifest.platform
        return Pulled(
            name=self.name,
            digest=str(self.target.digest) if self.target else "",
            manifest_digest=str(manifest.digest) if manifest else None,
            platform=str(platform) if platform else None,
            chain_id=str(image.chain_id) if image else None,
            checkpoint=self.checkpoint,
            layers=layers,
            fetched_bytes=fetched,
            reused_bytes=sum(layer.size for layer in layers if layer.state != "missing") - fetched,
            seconds=self.journal.durations(self.began),
            foreseen=self.foreseen,
            handed_over=self.handed_over,
        )

    def _layers(self) -> tuple[PulledLayer, ...]:
        if self.image is None:
            return ()
        missing = missing_bytes(self.node, self.image)
        return tuple(
            PulledLayer(
                digest=str(blob.descriptor.digest),
                media_type=blob.descriptor.media_type,
                size=blob.descriptor.size,
                diff_id=str(blob.diff_id) if isinstance(blob, Layer) else None,
                chain_id=str(blob.chain_id) if isinstance(blob, Layer) else None,
                fetched_bytes=self.journal.bytes_moved("fetch_layer", blob.descriptor.digest),
                state=state_of(blob, self.node.content).value,
                missing_bytes=missing[blob.descriptor.digest],
            )
            for blob in blobs_of(self.image)
        )


def in_turns(
    at_once: int,
    layers: Sequence[AnyBlob],
    submit: Callable[[AnyBlob, Sequence[PrefectFuture[Any]]], PrefectFuture[Any]],
) -> list[PrefectFuture[Any]]:
    """Submit a step for each layer, so that it begins when all but ``at_once`` of those before it have ended."""
    futures: list[PrefectFuture[Any]] = []
    for at, layer in enumerate(layers):
        futures.append(submit(layer, futures[: max(0, at - at_once + 1)][-1:]))
    return futures


@contextmanager
def pulling(
    home: str,
    reference: str,
    name: str | None,
    stop_after: Checkpoint | None,
    hold_after: Checkpoint | None,
    namespace: str | None,
    credentials: str | None,
    *,
    platform: str | None = None,
    unpack: bool = True,
    dry_run: bool = False,
    hand_over: str | None = None,
    pin: bool = False,
) -> Iterator[Pulling]:
    """Begin a pull: check the reference, take a lease, open the journal, publish the progress.

    Raises:
        InvalidError: reference or name breaks the grammar, or the credentials a rule; a checkpoint is none of this
            pull's, or a dry run is to be held or to stop elsewhere; a pin without a hand-over.
        NotFoundError: there are no such credentials.
        UnsupportedError: the image is to be handed over, and what that needs is not installed.
    """
    if dry_run and (stop_after or hold_after):
        raise InvalidError("a dry run ends after manifest-stored: leave out stop_after and hold_after")
    for checkpoint in (stop_after, hold_after):
        if checkpoint in UNPACKING and not unpack:
            raise InvalidError(
                f"a pull without unpacking does not reach {checkpoint!r}; choose another checkpoint, or unpack"
            )
    node = open_node(home, namespace)
    if credentials:
        node.sources.check_named(credentials, bound=False)
    runtime = runtime_for(node, hand_over, pin=pin)
    if runtime is None and "handed-over" in (stop_after, hold_after):
        raise InvalidError(
            "a pull that hands over to no runtime does not reach 'handed-over'; add --hand-over, or set hand_over"
        )
    source = node.source(reference, credentials)  # of an archive, it stays open for all steps
    if isinstance(source, LayoutSource):
        _decompress(source, reference)
    own_name = source.own_name() if name is None and isinstance(source, LayoutSource) else None
    known_as = own_name or image_name(reference, name)
    # what leaves the block before its end, a stop too, shows the lease that the pull is unfinished; a dry run has one
    # for its own time only: what it stored may go
    lease_for = node.lease(f"dry run {known_as}") if dry_run else node.unfinished(f"pull {known_as}")
    with journal() as book, suppress(_Stop), published(book, known_as), lease_for as lease:
        run = Pulling(
            node, reference, known_as, stop_after, hold_after, book, lease,
            credentials=credentials, platform=platform, unpack=unpack, dry_run=dry_run, runtime=runtime,
        )  # fmt: skip
        yield run
        node.images.use(known_as)
    if not dry_run:
        publish_table(run.pulled(), book)


def _decompress(source: LayoutSource, reference: str) -> None:
    """Decompress an archive that is compressed, which can take minutes, as a step that is shown."""
    if size := source.compressed_size:
        with recorded_step("decompress", reference, size) as advance:
            source.open(advance)
