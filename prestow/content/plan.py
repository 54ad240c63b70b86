"""Planning: what the store already holds of an image, and what a pull or a bundle has to do for the rest.

    missing ──fetch_layer──▶ fetched ──verify──▶ stored ──apply──▶ applied

A layer is as far as the last of these that the store shows; planning asks the store and changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prestow.content.refs import layer_ref
from prestow.content.store import Status
from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.oci.image import Image, Layer


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
    return Plan(image, tuple(LayerPlan(layer, _state(layer, content)) for layer in image.layers))


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


def replacement(layer: Layer, *, keep_blobs: bool) -> Digest | None:
    """Return the blob that makes a layer's own one needless: its diff blob, where no others are kept."""
    return None if keep_blobs else layer.diff_id


def holds_blob(content: Holdings, layer: Layer, *, keep_blobs: bool) -> bool:
    """Whether a layer's blob is here, or its replacement."""
    needless = replacement(layer, keep_blobs=keep_blobs)
    whole = content.has(layer.descriptor.digest, layer.descriptor.size)
    return whole or (needless is not None and content.has(needless))


def holds_download(content: Holdings, layer: Layer, *, keep_blobs: bool) -> bool:
    """Whether a layer's bytes are here, as a blob or as a complete ingest, or are not needed."""
    return holds_blob(content, layer, keep_blobs=keep_blobs) or _is_fetched(layer, content)


def _state(layer: Layer, content: Holdings) -> LayerState:
    if content.has(layer.diff_id):
        return LayerState.APPLIED
    if content.has(layer.descriptor.digest, layer.descriptor.size):
        return LayerState.STORED
    return LayerState.FETCHED if _is_fetched(layer, content) else LayerState.MISSING


def _is_fetched(layer: Layer, content: Holdings) -> bool:
    status = content.status(layer_ref(layer.descriptor.digest))
    return status is not None and status.sealed
