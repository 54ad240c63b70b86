"""Planning, pure: what the store already holds of an image, and what a pull or a bundle has to do for the rest.

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


def _state(layer: Layer, content: Holdings) -> LayerState:
    if content.has(layer.diff_id):
        return LayerState.APPLIED
    if content.has(layer.descriptor.digest, layer.descriptor.size):
        return LayerState.STORED
    status = content.status(layer_ref(layer.descriptor.digest))
    return LayerState.FETCHED if status is not None and status.sealed else LayerState.MISSING
