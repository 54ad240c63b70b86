"""Planning: what the store already holds of an image, and what a pull or a bundle has to do for the rest.

    missing ──fetch_layer──▶ fetched ──verify──▶ stored ──apply──▶ applied

A layer is as far as the last of these that the store shows; planning asks the store and changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prestow.content.info import Status
from prestow.content.refs import layer_ref
from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.oci.image import AnyBlob, Image, Layer


class LayerState(StrEnum):
    """How far a layer has come."""

    MISSING = "missing"
    FETCHED = "fetched"
    STORED = "stored"
    APPLIED = "applied"


class Holdings(Protocol):
    """What planning needs to know of a content store."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Return whether a blob is here, whole."""

    def status(self, ref: str) -> Status | None:
        """Return how far an ingest is."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer, and how far it has come."""

    layer: Layer
    state: LayerState


@dataclass(frozen=True, slots=True)
class Plan:
    """What is here of an image, layer by layer, in the order of the manifest."""

    image: Image
    layers: tuple[LayerPlan, ...]


def plan(image: Image, content: Holdings) -> Plan:
    """Look up every layer of an image."""
    return Plan(image, tuple(LayerPlan(layer, state_of(layer, content)) for layer in image.layers))


def unpackable(planned: Plan) -> Plan:
    """Check that the image can be unpacked without fetching.

    Raises:
        NotFoundError: a layer is neither stored nor applied.
    """
    for at in planned.layers:
        if at.state in (LayerState.MISSING, LayerState.FETCHED):
            raise NotFoundError(
                f"layer {at.layer.descriptor.digest.short} of {planned.image.target.digest.short} is not in the store; "
                "pull the image again, or allow it with --pull missing"
            )
    return planned


def replacement(blob: AnyBlob, *, keep_blobs: bool) -> Digest | None:
    """Return the blob that makes a layer's own one needless: its diff blob, where no others are kept."""
    return blob.diff_id if isinstance(blob, Layer) and not keep_blobs else None


def holds_blob(content: Holdings, blob: AnyBlob, *, keep_blobs: bool) -> bool:
    """Whether a blob is here, or its replacement."""
    needless = replacement(blob, keep_blobs=keep_blobs)
    whole = content.has(blob.descriptor.digest, blob.descriptor.size)
    return whole or (needless is not None and content.has(needless))


def holds_download(content: Holdings, blob: AnyBlob, *, keep_blobs: bool) -> bool:
    """Whether a blob's bytes are here, as a blob or as a complete ingest, or are not needed."""
    return holds_blob(content, blob, keep_blobs=keep_blobs) or _is_fetched(blob, content)


def state_of(blob: AnyBlob, content: Holdings) -> LayerState:
    """Return how far a layer has come, or a blob that is not to be unpacked."""
    if isinstance(blob, Layer) and content.has(blob.diff_id):
        return LayerState.APPLIED
    if content.has(blob.descriptor.digest, blob.descriptor.size):
        return LayerState.STORED
    return LayerState.FETCHED if _is_fetched(blob, content) else LayerState.MISSING


def _is_fetched(blob: AnyBlob, content: Holdings) -> bool:
    status = content.status(layer_ref(blob.descriptor.digest))
    return status is not None and status.sealed
